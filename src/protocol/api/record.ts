/** @file Releases, the record that proves them, and rewards. */
import { z } from 'zod';
import { artifact, asOf, count, hash, hotkey, losses, name, number, routers, sentence, share } from './common.ts';

export const evaluationSchema = z.object({
  validator: hotkey,
  losses,
  sequences: count,
  routers: routers.nullable(),
  atMs: count,
});

export const releaseRowSchema = z.object({
  release: count,
  /** Hash of its message. */
  id: hash,
  parent: hash.nullable(),
  seq: count,
  atMs: count,
  countedTokens: number,
  merges: count,
  /** Between the release before and this one. */
  mergesInSegment: count,
  /** Mean over its evaluations; empty before the first. */
  losses,
  routers: routers.nullable(),
  evaluations: count,
  attestedBy: z.array(hotkey),
  fileCount: count,
  sizeBytes: count,
});
export type ApiReleaseRow = z.infer<typeof releaseRowSchema>;
/** All of them, newest first; at most the newest 1,000. */
export const releasesSchema = z.object({ asOf, rows: z.array(releaseRowSchema).max(1_000), total: count });
export type ApiReleases = z.infer<typeof releasesSchema>;

export const releaseSchema = releaseRowSchema.extend({
  asOf,
  versions: z.array(count),
  tokensBySource: z.record(z.string().max(64), number),
  treeHead: hash,
  stateHash: hash,
  evaluationDetails: z.array(evaluationSchema),
  files: z.array(
    z.object({
      name: z.string().max(128),
      artifact,
      /** Below the API's origin: as the store has it, and as a file of the release's folder while that is kept. */
      storePath: z.string().max(300),
      filePath: z.string().max(300),
    }),
  ),
  /** Size of one piece; an artifact's root is the Merkle root over its pieces' hashes (`protocol/artifact.ts`). */
  pieceBytes: count,
  /** What to type, by what for; `{url}` is the address that the page came from. */
  commands: z.array(z.object({ what: name, command: z.string().max(500) })),
  /** Markdown; null once the folder is gone. */
  modelCard: z.string().max(262_144).nullable(),
});
export type ApiRelease = z.infer<typeof releaseSchema>;

/** What a verifier starts from. The entries are at `/journal?from=N`, the ledger at `/ledger/…`, bytes at `/store/ROOT`. */
export const recordSchema = z.object({
  asOf,
  /** RFC 6962 head over all entries now. */
  treeHead: z.object({ size: count, root: hash }),
  /** Newest first, at most 500; anchored: the ledger holds this root. */
  treeHeads: z
    .array(
      z.object({ size: count, root: hash, block: count, seq: count, atMs: count, isAnchored: z.boolean().nullable() }),
    )
    .max(500),
  treeHeadCount: count,
  /** What the syncer's hotkey has on the ledger now; null where none or not known. */
  commitment: z.object({ hotkey, block: count, data: z.string().max(256) }).nullable(),
  /** A segment lies between two releases; attested by validators that redid it. Newest first, at most 500. */
  segments: z
    .array(
      z.object({
        release: count,
        fromSeq: count,
        toSeq: count,
        merges: count,
        stateHash: hash,
        attestedBy: z.array(hotkey),
        required: count,
      }),
    )
    .max(500),
  eventCounts: z.record(z.string().max(64), count),
  verifyCommand: z.string().max(500),
});
export type ApiRecord = z.infer<typeof recordSchema>;

export const rewardsSchema = z.object({
  asOf,
  /** Oldest first, the newest 512 epochs that the ledger paid. */
  tempos: z
    .array(
      z.object({
        tempo: count,
        block: count,
        minerRao: number,
        validatorRao: number,
        ownerRao: number,
        /** Tokens that the journal scored in that tempo. */
        scoredTokens: number,
        verdicts: count,
        /** Per million scored tokens; null without any. */
        minerRaoPerMillionTokens: number.nullable(),
      }),
    )
    .max(512),
  totals: z.object({ minerRao: number, validatorRao: number, ownerRao: number, scoredTokens: number }),
  /** For "what would X tokens a day have earned": payout per verified token over the paid tempos, and how long those took. */
  payout: z
    .object({
      minerRaoPerMillionTokens: number,
      tempos: count,
      tempoMs: number,
      scoredTokensPerDay: number,
      minerRaoPerDay: number,
      /** The owner's and validators' shares of the emission, as paid. */
      ownerShare: share,
      validatorShare: share,
      note: sentence,
    })
    .nullable(),
  /** The newest tempo's payment by hotkey, largest first, at most 256. */
  latest: z.array(z.object({ hotkey, name, minerRao: number, validatorRao: number })).max(256),
});
export type ApiRewards = z.infer<typeof rewardsSchema>;
