/** @file What `/bus-access` of an orchestrator is asked and answers, and what of a run's bus each role has rights to. */
import { z } from 'zod';
import type { ParticipantTopics } from '../../bus/nats/names.ts';
import type { Hash } from '../../protocol/names.ts';
import { topics } from '../../roles/client.ts';

/** `GET`: where the bus is. */
export const busPlaceSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('websocket') }),
  z.object({
    kind: z.literal('nats'),
    servers: z.array(z.string().max(200)).min(1).max(16),
    /** Whether a JWT is asked for. */
    isGuarded: z.boolean(),
  }),
]);
export type BusPlace = z.infer<typeof busPlaceSchema>;

/** `POST`: a signed `bus-access`, and the delegation of its signer where none is journaled yet. */
export const busAskSchema = z.strictObject({ request: z.string(), delegation: z.string().nullable() });
export const busGrantSchema = z.object({ jwt: z.string().max(16_384), expiresAtMs: z.number() });

export const busAccessPath = '/bus-access';
export const notDelegatedCode = 'NOT_DELEGATED';

/** One token of a subject, and different for each run on an account. */
export const busScopeOf = (run: Hash): string => run.slice(0, 16);

/** A validator trains nothing, so it takes no leases. */
export function topicsOfRole(role: 'miner' | 'validator'): ParticipantTopics {
  return {
    requests: role === 'miner' ? [topics.grant, topics.lease] : [topics.grant],
    families: ['ledger'],
    work: [topics.submit],
    latest: [topics.heartbeat],
    logs: [topics.journal],
  };
}
