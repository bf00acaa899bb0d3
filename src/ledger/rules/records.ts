/** @file What hotkeys and coldkeys publish of themselves: commitments, axons, identities; each with its limits. */
import type { Hotkey } from '../../protocol/names.ts';
import { utf8 } from '../../util/bytes.ts';
import type { Axon, Identity } from '../calls.ts';
import { refused } from '../errors.ts';
import type { ChainRules } from '../genesis.ts';
import { type ChainState, registered } from '../state.ts';

export interface CommitmentCall {
  readonly hotkey: Hotkey;
  readonly data: string;
  readonly block: number;
}

export function planCommitment(state: ChainState, rules: ChainRules, call: CommitmentCall): () => void {
  const { hotkey, data, block } = call;
  registered(state, hotkey); // `AccountNotAllowedCommit` on the chain; one name here for one reason.
  const tempo = Math.floor(block / rules.tempoBlocks);
  const space = state.commitmentSpace[hotkey];
  const usedBytes = (space?.tempo === tempo ? space.usedBytes : 0) + Math.max(100, data.length / 2);
  if (usedBytes > rules.commitmentSpaceBytes) {
    const nextBlock = (tempo + 1) * rules.tempoBlocks;
    const sentence = `${rules.commitmentSpaceBytes} bytes a tempo; more from block ${nextBlock}`;
    throw refused('RATE_LIMIT', 'SpaceLimitExceeded', sentence, { nextBlock, block });
  }
  return () => {
    state.commitments[hotkey] = { block, data };
    state.commitmentSpace[hotkey] = { tempo, usedBytes };
  };
}

export interface AxonCall {
  readonly hotkey: Hotkey;
  readonly axon: Axon;
  readonly block: number;
}

export function planAxon(state: ChainState, rules: ChainRules, { hotkey, axon, block }: AxonCall): () => void {
  registered(state, hotkey);
  if (!isPublicAddress(axon.ip))
    throw refused('BAD_CALL', 'InvalidIpAddress', `${axon.ip} is not reachable from outside; give the public address`);
  if (axon.port === 0) throw refused('BAD_CALL', 'InvalidPort', 'port 0 cannot be connected to; give the true port');
  const nextBlock = (state.axons[hotkey]?.block ?? -rules.servingRateLimitBlocks) + rules.servingRateLimitBlocks;
  if (block < nextBlock) {
    const sentence = `an axon may be served again in block ${nextBlock}, this is ${block}`;
    throw refused('RATE_LIMIT', 'ServingRateLimitExceeded', sentence, { nextBlock, block });
  }
  return () => {
    state.axons[hotkey] = { block, axon };
  };
}

/** Not zero, loopback or broadcast: what the chain refuses. */
function isPublicAddress(ip: string): boolean {
  if (ip.includes(':')) return !/^(0{0,4}:)*:?0{0,3}[01]?$/.test(ip);
  return !/^(0\.0\.0\.0|127\..*|255\.255\.255\.255)$/.test(ip);
}

const identityBytes: Readonly<Record<keyof Identity, number>> = {
  ...{ name: 256, url: 256, githubRepo: 256, image: 1_024, discord: 256, description: 1_024, additional: 1_024 },
};

export function planIdentity(state: ChainState, coldkey: Hotkey, identity: Identity): () => void {
  if (!state.neurons.some((neuron) => neuron.coldkey === coldkey))
    throw refused(
      'NOT_REGISTERED',
      'HotKeyNotRegisteredInNetwork',
      `${coldkey} owns no registered hotkey; register one`,
    );
  for (const [field, most] of Object.entries(identityBytes) as [keyof Identity, number][]) {
    const { byteLength } = utf8(identity[field]);
    if (byteLength > most)
      throw refused('BAD_CALL', 'InvalidIdentity', `${field}: expected at most ${most} bytes, got ${byteLength}`);
  }
  return () => {
    state.identities[coldkey] = identity;
  };
}
