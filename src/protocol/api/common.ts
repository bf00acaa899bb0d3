/**
 * @file Pieces that all answers of the read API share: names, pages, errors. Answers hold plain JSON numbers with their
 * units in their names; `null` is "not known" or "not yet". Readers must take unknown fields: later versions add some.
 */
import { z } from 'zod';
import { countSchema, type Hash, type Hotkey } from '../names.ts';

/** As `hashSchema` and `hotkeySchema`, in a form that the OpenAPI document can show. */
export const hash = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits') as unknown as z.ZodType<Hash>;
export const hotkey = z
  .string()
  .regex(/^[1-9A-HJ-NP-Za-km-z]{46,50}$/, 'expected an SS58 address') as unknown as z.ZodType<Hotkey>;

export const count = countSchema;
export const number = z.number();
export const share = z.number().min(0).max(1);
export const name = z.string().max(64);
export const code = z.string().max(64);
export const sentence = z.string().max(2_000);
export const numbers = z.record(z.string().max(64), z.number());
/** Nats a token, by held-out stage (`held-out`, `held-out-other`) or by `STAGE/SOURCE`. */
export const losses = z.record(z.string().max(130), z.number());
export const stepRange = z.tuple([countSchema, countSchema]);

export const artifact = z.object({ root: hash, sizeBytes: countSchema });

/** How routers share their tokens, the worst of all layers: 1 and 1 are balance. */
export const routers = z.object({ entropy: share, imbalance: number, deadExperts: countSchema });

/** One shape for all refusals; `code` is for programs, `message` for people. */
export const apiErrorSchema = z.object({
  code: z.enum([
    'BAD_REQUEST',
    'NOT_FOUND',
    'METHOD_NOT_ALLOWED',
    'NO_RUN',
    'TOO_MANY_REQUESTS',
    'UNAVAILABLE',
    'INTERNAL',
  ]),
  message: z.string().max(2_000),
  /** Which parameter, where one is at fault. */
  field: z.string().max(64).optional(),
  /** When to ask again, where that helps. */
  retryAfterSeconds: countSchema.optional(),
});
export type ApiError = z.infer<typeof apiErrorSchema>;

export const maxPageRows = 200;
/** A page's `nextCursor`, handed back as `cursor`; opaque, and good in file names. */
export const cursor = z.string().regex(/^[A-Za-z0-9_-]{1,200}$/, 'expected a cursor of an earlier page');
const queryCount = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
export const queryInteger = queryCount;
export const pageQuery = {
  cursor: cursor.optional(),
  limit: z.coerce.number().int().min(1).max(maxPageRows).default(50),
};

/** A page of rows; `nextCursor` is null on the last one. `total` counts all rows that the question has. */
export const pageOf = <T extends z.ZodType>(row: T) =>
  z.object({ rows: z.array(row).max(maxPageRows), nextCursor: z.string().max(200).nullable(), total: countSchema });

/** How far the answer goes: the journal's entries that it rests on. The ETag follows from it. */
export const asOf = z.object({ size: countSchema, headHash: hash, atMs: countSchema });
export type AsOf = z.infer<typeof asOf>;

/** An empty question. */
export const noQuery = z.strictObject({});
