/**
 * @file A small run for tests of the fold: manifest, keys, and a driver that puts events at the head of a journal. Entries
 * carry no real signatures unless asked for: the fold trusts `openEntry`, which has tests of its own.
 */
import { admit, applyEvent } from '../../src/journal/fold.ts';
import { headAfter, nextEntry } from '../../src/journal/port.ts';
import { emptyState, type RunState } from '../../src/journal/state.ts';
import { hashOfText, runIdOf } from '../../src/protocol/hash.ts';
import {
  type HotkeySigner,
  hotkeyFromSeed,
  parseSigner,
  type SessionSigner,
  type Signer,
  sessionKeyFromSeed,
} from '../../src/protocol/keys.ts';
import { type ArtifactRef, manifestSchema, type RunManifest, rulesVersion } from '../../src/protocol/manifest.ts';
import type { Admission, Envelope, EventBody, EventKind } from '../../src/protocol/messages.ts';
import {
  messageId,
  type OpenedEntry,
  type OpenedMessage,
  type SignContext,
  signMessage,
} from '../../src/protocol/signing.ts';

const seedOf = (label: string): Uint8Array => Buffer.from(hashOfText(label), 'hex');

/** Each key is made once: properties ask for the same ones in every case. */
function once<Key>(make: (label: string) => Key): (label: string) => Key {
  const made = new Map<string, Key>();
  return (label) => {
    const key = made.get(label) ?? make(label);
    made.set(label, key);
    return key;
  };
}

export const testHotkey = once((label): HotkeySigner => hotkeyFromSeed(seedOf(`hotkey ${label}`), 'ed25519'));
export const testSession = once((label): SessionSigner => sessionKeyFromSeed(seedOf(`session ${label}`)));
export const testArtifact = (label: string, sizeBytes = 1000): ArtifactRef => ({ root: hashOfText(label), sizeBytes });

export const owner = testHotkey('owner');

export function testManifest(changes: Partial<RunManifest> = {}): RunManifest {
  const schedule = {
    kind: 'constant',
    peakLearningRate: '0.003',
    finalLearningRate: '0.003',
    warmupTokens: 100,
    totalTokens: 100_000,
  };
  const phase = { targetTokens: 400, sequenceLength: 4, mixture: { text: 1 }, schedule };
  return manifestSchema.parse({
    version: rulesVersion,
    name: 'test',
    ledger: { chainId: 'test-chain', netuid: 24, tempoBlocks: 10, blockMs: 250 },
    owner: owner.hotkey,
    createdAtMs: 1_000,
    seed: hashOfText('seed'),
    model: { preset: 'tiny', config: '{}', contractHash: hashOfText('contract') },
    tokenizer: { artifact: testArtifact('tokenizer'), configArtifact: testArtifact('config'), vocabSize: 256 },
    data: {
      shards: [{ source: 'text', artifact: testArtifact('shard'), tokens: 9_999, licence: 'CC0', stage: 'train' }],
    },
    phases: [
      { name: 'base', ...phase },
      { name: 'long', ...phase, sequenceLength: 8 },
    ],
    recipe: {
      optimizer: 'adamw',
      beta1: '0.9',
      beta2: '0.95',
      epsilon: '1e-8',
      weightDecay: '0.1',
      clipNorm: '1',
      selectionBiasRate: '0.001',
      batchSequences: 2,
      joinWarmupSteps: 2,
      precision: 'f32',
    },
    fragments: { count: 3 },
    sync: {
      innerStepsPerOuterStep: 2,
      quorum: 2,
      grace: { gamma: '0.5', minMs: 0, maxMs: 100 },
      deadlineMs: 5_000,
      maxStaleness: 1,
      leaseSequences: 12,
      leaseMs: 10_000,
      stateRootEverySteps: 10,
    },
    codec: 'int8',
    merge: { rule: 'mean', outerLearningRate: '0.7', outerMomentum: '0.9', normClip: '4' },
    evaluation: {
      gainShare: '0.25',
      gainFirstClaims: 2,
      gainSequences: 4,
      normFloor: '0.1',
      normCeiling: '10',
      harmMargin: '0',
      committee: 2,
      recheckShare: '0',
      heldOutSequences: 4,
    },
    audit: {
      perTempo: 0,
      window: 4,
      answerMs: 5_000,
      minCosine: '0.99',
      maxNormRatio: '1.1',
      copyResemblance: '0.9',
    },
    rewards: { verdictShare: '0.1', halfLifeTempos: '2' },
    release: { everyMerges: 1, keepReleases: 2, attestations: 0 },
    ...changes,
  });
}

/** A journal and its fold, driven by hand. */
export class TestRun {
  state: RunState = emptyState();
  readonly entries: OpenedEntry[] = [];
  readonly manifest: RunManifest;
  readonly syncer = testSession('syncer');
  nowMs = 10_000;
  readonly context: SignContext;

  constructor(manifest = testManifest()) {
    this.manifest = manifest;
    const { chainId, netuid } = manifest.ledger;
    this.context = { chainId, netuid, run: runIdOf(manifest), seenHead: null };
    const start = Array.from({ length: manifest.fragments.count }, (_, i) => testArtifact(`start ${i}`));
    this.must('run', { manifest, start }, owner);
    this.delegate(owner, 'syncer', 'syncer', this.syncer);
  }

  delegate(hotkey: HotkeySigner, role: 'syncer' | 'miner' | 'validator', name: string, session: SessionSigner): void {
    const expiresAtMs = this.nowMs + 1e9;
    const body = {
      hotkey: hotkey.hotkey,
      role,
      name,
      sessionKey: session.sessionKey,
      issuedAtMs: this.nowMs,
      expiresAtMs,
    };
    this.must('delegate', body, hotkey);
  }

  /** An unsigned message (or a signed one) as `openEntry` would give it at the head. */
  open<K extends EventKind>(kind: K, body: EventBody<K>, signer: Signer, isSigned = false): OpenedEntry {
    const envelope: Envelope = isSigned
      ? signMessage(signer, kind, body, this.context)
      : {
          version: 1,
          kind,
          run: this.context.run,
          signer: signer.signer,
          seenHead: null,
          body,
          signature: '0'.repeat(128),
        };
    return this.place(envelope);
  }

  /** Puts any message at the head, also one that was there before. */
  place(envelope: Envelope): OpenedEntry {
    const last = this.entries.at(-1);
    const head = last === undefined ? { size: 0, hash: this.state.headHash, timeMs: 0 } : headAfter(last.entry);
    const message = {
      kind: envelope.kind,
      body: envelope.body,
      signer: parseSigner(envelope.signer)!,
      id: messageId(envelope),
      envelope,
    } as OpenedMessage;
    return { entry: nextEntry(head, envelope, this.nowMs), message };
  }

  offer(opened: OpenedEntry): Admission {
    const admission = admit(this.state, opened);
    if (admission.outcome === 'accept') {
      applyEvent(this.state, opened);
      this.entries.push(opened);
    }
    return admission;
  }

  send<K extends EventKind>(kind: K, body: EventBody<K>, signer: Signer = this.syncer): Admission {
    return this.offer(this.open(kind, body, signer));
  }

  /** Sends an event that must be accepted; gives its message id. */
  must<K extends EventKind>(kind: K, body: EventBody<K>, signer: Signer = this.syncer) {
    const opened = this.open(kind, body, signer);
    const admission = this.offer(opened);
    if (admission.outcome !== 'accept') throw new Error(`${kind} was refused: ${admission.code} ${admission.sentence}`);
    return opened.message.id;
  }
}

/** Code of a refusal; `OK` if it was accepted. */
export const codeOf = (admission: Admission): string => (admission.outcome === 'accept' ? 'OK' : admission.code);
