/**
 * @file What the read API answers from: the fold, its index, the last heartbeats, and what others know of model and ledger. All
 * of it is only read. Who opens a server, or writes a snapshot, hands it in.
 */
import type { IndexHead, JournalIndex } from '../../journal/index/port.ts';
import { manifestOf } from '../../journal/queries.ts';
import type { RunState } from '../../journal/state.ts';
import type { AsOf } from '../../protocol/api/common.ts';
import type { Hash, Hotkey } from '../../protocol/names.ts';
import type { Pulse } from '../build-status.ts';

/** What follows from the model's config and the run's plan. */
export interface ModelView {
  readonly paramsTotal: number;
  readonly paramsActive: number;
  readonly layers: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly vocabSize: number;
  /** Of one learner; estimates. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly downloadBytes: number;
  readonly uploadBytesPerClaim: number;
}

export interface NeuronView {
  readonly uid: number;
  readonly hotkey: Hotkey;
  readonly stakeRao: number;
  readonly emissionRao: number;
  readonly incentive: number;
  readonly validatorPermit: boolean;
}

/** What one epoch of the ledger paid; rao as numbers. */
export interface EpochView {
  readonly tempo: number;
  readonly block: number;
  readonly minerRao: number;
  readonly validatorRao: number;
  readonly ownerRao: number;
  readonly paid: ReadonlyMap<Hotkey, { readonly minerRao: number; readonly validatorRao: number }>;
}

/** The last epoch's numbers, by uid. */
export interface MatrixView {
  readonly block: number;
  readonly tempo: number;
  readonly neurons: readonly {
    readonly hotkey: Hotkey;
    readonly stakeRao: number;
    readonly consensus: number;
    readonly incentive: number;
    readonly dividends: number;
    readonly validatorTrust: number;
    readonly setAtBlock: number | null;
    /** `[uid, u16]` as set. */
    readonly weights: readonly (readonly [number, number])[];
  }[];
}

export interface CommitmentView {
  readonly hotkey: Hotkey;
  readonly block: number;
  /** Hex. */
  readonly data: string;
}

/** The ledger as it was when it was last looked at. */
export interface LedgerView {
  readonly block: number;
  readonly neurons: readonly NeuronView[];
  /** Oldest first, the newest 512. */
  readonly epochs: readonly EpochView[];
  readonly matrix: MatrixView | null;
  readonly commitment: CommitmentView | null;
  /** Roots that the syncer's hotkey ever committed. */
  readonly anchored: ReadonlySet<string>;
}

export interface ApiSources {
  /** Null before the first event. */
  readonly run: () => RunState | null;
  readonly index: JournalIndex;
  /** Brings the index level with the fold, and says how far both are. */
  readonly level: () => Promise<IndexHead>;
  /** By `role/hotkey/name`; null where nobody listens to heartbeats. */
  readonly pulses: () => ReadonlyMap<string, Pulse> | null;
  readonly model: ModelView;
  readonly ledger: () => Promise<LedgerView | null>;
  /** The README of a release's folder; null once that is gone. */
  readonly modelCard: (release: number) => Promise<string | null>;
  readonly nowMs: () => number;
  /** A role whose heartbeat is older is not active. */
  readonly freshMs: number;
  /** The run was stopped on purpose. */
  readonly isEnded: () => boolean;
}

/** What handlers work on: the run is there, the index is level. */
export interface Sources extends ApiSources {
  readonly state: RunState;
  readonly asOf: AsOf;
}

export const asOfIndex = ({ size, headHash, lastTimeMs }: IndexHead): AsOf => ({ size, headHash, atMs: lastTimeMs });

/** Cell-tokens of the fold as tokens. */
export const tokensOf = (state: RunState, cellTokens: number): number => cellTokens / manifestOf(state).fragments.count;

/** Newest heartbeat of a delegation if it is fresh; undefined if not; null where nobody listens. */
export function pulseOf(
  sources: ApiSources,
  role: 'miner' | 'validator',
  hotkey: Hotkey,
  name: string,
): Pulse | undefined | null {
  const pulses = sources.pulses();
  if (pulses === null) return null;
  const pulse = pulses.get(`${role}/${hotkey}/${name}`);
  return pulse !== undefined && sources.nowMs() - pulse.atMs < sources.freshMs ? pulse : undefined;
}

/** A thing that was asked for by its name and is not there. */
export class NotThere extends Error {}

export const shortOf = (hash: Hash | string): string => hash.slice(0, 12);
export const median = (values: readonly number[]): number | null =>
  values.length === 0 ? null : [...values].sort((a, b) => a - b)[values.length >> 1]!;
