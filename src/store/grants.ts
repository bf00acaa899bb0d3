/**
 * @file Permission to write one artifact: a token under the store owner's secret (HMAC-SHA256) that binds root, size,
 * expiry and learner. A store needs no list of what it granted.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { type ArtifactRef, artifactRefSchema } from '../protocol/manifest.ts';
import { countSchema, type LearnerId } from '../protocol/names.ts';
import { StoreError } from './errors.ts';
import type { WriteGrant } from './port.ts';

const grantSchema = z.strictObject({
  version: z.literal(1),
  artifact: artifactRefSchema,
  /** `hotkey/name` of who asked. */
  learner: z.string().min(1).max(100),
  expiresAtMs: countSchema,
});
export type GrantContent = z.infer<typeof grantSchema>;

const maxTokenLength = 1_024;

export interface IssueGrantOptions {
  readonly artifact: ArtifactRef;
  readonly learner: LearnerId;
  readonly expiresAtMs: number;
}

/** `secret`: at least 32 random bytes that only the store's owner has. */
export function issueGrant(secret: Uint8Array, options: IssueGrantOptions): WriteGrant {
  const { artifact, learner, expiresAtMs } = options;
  const content = grantSchema.parse({ version: 1, artifact, learner, expiresAtMs });
  const payload = Buffer.from(JSON.stringify(content)).toString('base64url');
  return { artifact, token: `${payload}.${macOf(secret, payload).toString('base64url')}`, expiresAtMs };
}

/** What the token permits; `FORBIDDEN` if it is forged, expired, or of another store. */
export function openGrant(secret: Uint8Array, token: string, nowMs: number): GrantContent {
  const forbidden = (why: string) => new StoreError('FORBIDDEN', `the grant ${why}; ask for a new one`);
  const match = token.length <= maxTokenLength && /^([\w-]+)\.([\w-]{43})$/.exec(token);
  if (!match) throw forbidden('is not of its form');
  const payload = match[1]!;
  // Both are 32 bytes: the pattern fixes the length of the second.
  if (!timingSafeEqual(macOf(secret, payload), Buffer.from(match[2]!, 'base64url'))) {
    throw forbidden('was not issued by this store');
  }
  const content = grantSchema.parse(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')));
  if (nowMs >= content.expiresAtMs) throw forbidden(`expired at ${new Date(content.expiresAtMs).toISOString()}`);
  return content;
}

function macOf(secret: Uint8Array, payload: string): Buffer {
  return createHmac('sha256', secret).update('accrete/store-grant/1\n').update(payload).digest();
}
