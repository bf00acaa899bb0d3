/**
 * @file Details of a verdict: what a gain test rests on, so that others can compute a part of it again. Canonical JSON in the
 * store, named by the verdict; bounded and checked like everything that strangers write.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../util/bytes.ts';
import { canonicalJson, parseStrictJson } from '../util/canonical-json.ts';
import { countSchema, decimalSchema, hashSchema, hotkeySchema } from './names.ts';

/** Larger details are refused before they are stored or fetched. */
export const maxDetailsBytes = 1 << 20;

export const detailsSchema = z
  .strictObject({
    version: z.literal(1),
    claim: hashSchema,
    validator: hotkeySchema,
    /** Roots of all fragments, as the claim's commit found them. */
    heads: z.array(hashSchema).min(1).max(4096),
    /** Positions of the phase's order that the beacon drew for this validator, ascending. */
    positions: z.array(countSchema).min(1).max(4096),
    /** Nats a token of each position's sequence: by the heads, and with the claim applied at the outer rate. */
    lossesBefore: z.array(decimalSchema).max(4096),
    lossesAfter: z.array(decimalSchema).max(4096),
  })
  .refine(
    ({ positions, lossesBefore, lossesAfter }) =>
      positions.length === lossesBefore.length && positions.length === lossesAfter.length,
    'a loss of each kind for each position',
  );
export type VerdictDetails = z.infer<typeof detailsSchema>;

export const encodeDetails = (details: VerdictDetails): Uint8Array => utf8(canonicalJson(details));

/** Null if the bytes are no details. Never throws. */
export function parseDetails(bytes: Uint8Array): VerdictDetails | null {
  if (bytes.byteLength > maxDetailsBytes) return null;
  let text: string;
  try {
    text = fromUtf8(bytes);
  } catch {
    return null;
  }
  const json = parseStrictJson(text, { maxLength: maxDetailsBytes, maxDepth: 3 });
  const parsed = json.ok ? detailsSchema.safeParse(json.value) : null;
  // One value has one text: nobody hides a message in the form.
  return parsed?.success && canonicalJson(parsed.data) === text ? parsed.data : null;
}
