/** @file What a rule of the fold is: who may sign an event, when it is allowed, and what it changes. */
import type { Admission, Envelope, EventBody, EventKind, Role } from '../protocol/messages.ts';
import { type Hash, type LearnerId, learnerIdOf } from '../protocol/names.ts';
import { assert } from '../util/errors.ts';
import type { Delegation, Learner, RunState } from './state.ts';

/** The sender of an event, resolved. */
export type Sender =
  | { readonly kind: 'hotkey'; readonly hotkey: string }
  | { readonly kind: 'session'; readonly delegation: Delegation };

export interface EventContext {
  readonly sender: Sender;
  readonly seq: number;
  readonly timeMs: number;
  /** Id of the message. */
  readonly id: Hash;
  readonly message: Envelope;
}

export type Refusal = Exclude<Admission, { outcome: 'accept' }>;

/** Costs the sender nothing: late, early or a duplicate. */
export const ignore = (code: string, sentence: string): Refusal => ({ outcome: 'ignore', code, sentence });
/** Costs the sender. */
export const reject = (code: string, sentence: string): Refusal => ({ outcome: 'reject', code, sentence });

export interface Rule<K extends EventKind> {
  /** Roles that may sign it; `hotkey`: signed by a hotkey itself. */
  readonly signers: readonly (Role | 'hotkey')[];
  /** Null if the event may follow now. Changes nothing. */
  readonly admit: (state: RunState, body: EventBody<K>, context: EventContext) => Refusal | null;
  /** Changes the state. Only ever called after `admit` gave null for the same state. */
  readonly apply: (state: RunState, body: EventBody<K>, context: EventContext) => void;
}

export function delegationIn(context: EventContext): Delegation {
  assert(context.sender.kind === 'session', `${context.message.kind} must be signed by a session key`);
  return context.sender.delegation;
}

export function learnerIdIn(context: EventContext): LearnerId {
  const { hotkey, name } = delegationIn(context);
  return learnerIdOf(hotkey, name);
}

/** The learner that signed, if it ever joined. */
export const learnerIn = (state: RunState, context: EventContext): Learner | undefined =>
  state.learners.get(learnerIdIn(context));

export const short = (hash: string): string => hash.slice(0, 12);
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
