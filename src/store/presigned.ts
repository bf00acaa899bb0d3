/** @file A grant's token as a bucket's presigned requests: one for the whole artifact, or one for each of its parts. */
import { z } from 'zod';
import { StoreError } from './errors.ts';

const headersSchema = z.record(z.string().max(64), z.string().max(256));

const presignedSchema = z.strictObject({
  version: z.literal(1),
  /** What each request but the last one takes. */
  partBytes: z.number().int().min(1),
  requests: z
    .array(z.strictObject({ url: z.url({ protocol: /^https?$/ }).max(4_096), headers: headersSchema }))
    .min(1)
    .max(1_024),
});
export type PresignedUpload = z.infer<typeof presignedSchema>;

const prefix = 'presigned.';
const maxTokenLength = 8 * 1024 ** 2;

export const isPresigned = (token: string): boolean => token.startsWith(prefix);

export const presignedToken = (upload: PresignedUpload): string =>
  prefix + Buffer.from(JSON.stringify(presignedSchema.parse(upload))).toString('base64url');

/** What the server's time says about a refused request, as a code of S3; '' where time is not the reason. Not all servers say so. */
export function timeFaultOf(url: string, serverDate: string | undefined): string {
  const query = new URL(url).searchParams;
  const [, year, month, day, h, m, s] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '') ?? [];
  const signedAtMs = Date.parse(`${year}-${month}-${day}T${h}:${m}:${s}Z`);
  const serverMs = Date.parse(serverDate ?? '');
  if (serverMs >= signedAtMs + 1_000 * Number(query.get('X-Amz-Expires'))) return 'ExpiredToken';
  return serverMs < signedAtMs - toleratedSkewMs ? 'RequestNotYetValid' : '';
}

/** Servers take what was signed so much later by their clock. */
const toleratedSkewMs = 60_000;

/** `FORBIDDEN` if it is none. */
export function parsePresigned(token: string): PresignedUpload {
  const text = token.length <= maxTokenLength ? Buffer.from(token.slice(prefix.length), 'base64url').toString() : '';
  try {
    return presignedSchema.parse(JSON.parse(text));
  } catch {
    throw new StoreError('FORBIDDEN', 'the grant is not of its form; ask for a new one');
  }
}
