/**
 * @file What anybody can check of a journal by its bytes alone, line by line, also in a browser: one canonical text, the hash
 * chain, signatures, who may sign, and the tree heads with proofs between them. What events mean is the fold's, which `accrete
 * verify` checks beside this. Stops at the first entry that is wrong, and says which, what was expected and what came.
 */
import { fromHex, toHex, utf8 } from '../util/bytes.ts';
import type { Ed25519Equation } from './ed25519.ts';
import { sha256 } from './hash.ts';
import type { ArtifactRef, RunManifest } from './manifest.ts';
import { leafHash, verifyConsistency, verifyInclusion } from './merkle.ts';
import { MerkleLog } from './merkle-log.ts';
import type { EventBody, EventKind, Role } from './messages.ts';
import type { Hash, SessionKey } from './names.ts';
import { type LineFault, openLine } from './record-line.ts';
import { bindingOfRun, type OpenedEntry, type OpenedMessage, type RunBinding } from './signing.ts';

export type RecordStep = 'journal' | 'signatures' | 'delegations' | 'tree heads';

export interface RecordFault {
  readonly step: RecordStep;
  readonly seq: number;
  readonly event: string;
  readonly expected: string;
  readonly found: string;
}

export interface RecordCounts {
  readonly entries: number;
  readonly sessionSignatures: number;
  readonly hotkeySignatures: number;
  readonly delegations: number;
  readonly treeHeads: number;
  readonly inclusionProofs: number;
  readonly consistencyProofs: number;
  /** Heads that signers said they had seen, compared with this history. */
  readonly seenHeads: number;
}

export interface NamedFile {
  readonly name: string;
  readonly artifact: ArtifactRef;
}

const genesisHash = '0'.repeat(64) as Hash;

/** Who signs what; the fold's rules hold the same. */
export const signersOf: Readonly<Record<EventKind, readonly (Role | 'hotkey')[]>> = {
  run: ['hotkey'],
  delegate: ['hotkey'],
  join: ['miner'],
  leave: ['miner'],
  serve: ['validator'],
  lease: ['syncer'],
  'lease-return': ['miner', 'syncer'],
  'fragment-due': ['syncer'],
  'claim-commit': ['miner'],
  'claim-reveal': ['miner'],
  'claim-beacon': ['syncer'],
  'claim-void': ['syncer'],
  verdict: ['validator'],
  appeal: ['miner'],
  'dispute-close': ['syncer'],
  'audit-challenge': ['syncer'],
  'audit-answer': ['miner'],
  'audit-verdict': ['validator'],
  'audit-close': ['syncer'],
  merge: ['syncer'],
  'fragment-published': ['syncer'],
  release: ['syncer'],
  'release-published': ['syncer'],
  'segment-attested': ['validator'],
  evaluation: ['validator'],
  'phase-change': ['syncer'],
  amendment: ['hotkey'],
  tempo: ['syncer'],
  'tree-head': ['syncer'],
};

type Delegate = EventBody<'delegate'>;
const keyOf = ({ role, hotkey, name }: Delegate): string => `${role}/${hotkey}/${name}`;

export interface RecordCheckOptions {
  /** In place of the pure check; may collect and answer later (then the caller judges). */
  readonly equation?: Ed25519Equation;
}

export class RecordCheck {
  readonly #equation: Ed25519Equation | undefined;
  readonly #log = new MerkleLog();
  readonly #delegations = new Map<string, Delegate>();
  readonly #sessions = new Map<SessionKey, string>();
  /** Size → root, of the journal's tree-head events. */
  readonly #heads = new Map<number, Hash>();
  readonly #files = new Map<number, readonly NamedFile[]>();
  readonly #counts = {
    ...{ entries: 0, sessionSignatures: 0, hotkeySignatures: 0, delegations: 0 },
    ...{ treeHeads: 0, inclusionProofs: 0, consistencyProofs: 0, seenHeads: 0 },
  };
  #binding: RunBinding | null = null;
  #manifest: RunManifest | null = null;
  #headHash: Hash = genesisHash;
  #timeMs = 0;
  #lastHead: { readonly size: number; readonly root: Hash } | null = null;

  constructor(options: RecordCheckOptions = {}) {
    this.#equation = options.equation;
  }

  get counts(): RecordCounts {
    return this.#counts;
  }
  get size(): number {
    return this.#log.size;
  }
  get headHash(): Hash {
    return this.#headHash;
  }
  get manifest(): RunManifest | null {
    return this.#manifest;
  }
  get runId(): Hash | null {
    return this.#binding?.run ?? null;
  }
  /** RFC 6962 head of all entries so far; null before the first. */
  get treeHead(): Hash | null {
    return this.size === 0 ? null : (toHex(this.#log.rootAt(this.size)) as Hash);
  }
  /** Files of releases, as the journal names them. */
  get releaseFiles(): ReadonlyMap<number, readonly NamedFile[]> {
    return this.#files;
  }
  /** How many entries a head covers; null for a root that is none of this journal's heads. */
  sizeOfHead(root: string): number | null {
    for (const [size, known] of this.#heads) if (known === root) return size;
    return this.treeHead === root ? this.size : null;
  }

  /** The next line, without its line end. Null if it is good; else nothing more may be added. */
  add(text: string): RecordFault | null {
    const seq = this.size;
    const context = this.#binding === null ? null : this.#openContext(this.#binding);
    const opened = openLine(text, { seq, headHash: this.#headHash, context });
    if (!opened.ok) return faultOfLine(seq, opened);
    const { entry } = opened;
    const event = entry.message.kind;
    if (entry.timeMs < this.#timeMs)
      return fault('journal', seq, event, `a time of ${this.#timeMs} or later`, `${entry.timeMs}`);
    const wrong = this.#checkSigner(opened) ?? this.#checkSeenHead(opened) ?? this.#checkBody(opened);
    if (wrong !== null) return wrong;
    this.#take(opened, text);
    return null;
  }

  #openContext(binding: RunBinding): RunBinding & { readonly equation?: Ed25519Equation } {
    return this.#equation === undefined ? binding : { ...binding, equation: this.#equation };
  }

  #checkSigner({ entry: { seq, timeMs }, message }: OpenedEntry): RecordFault | null {
    const { kind, signer } = message;
    if (!Object.hasOwn(signersOf, kind)) return fault('journal', seq, kind, 'an event of a journal', kind);
    if (signer.kind === 'hotkey') return null;
    const delegation = this.#delegations.get(this.#sessions.get(signer.sessionKey) ?? '');
    const allowed = signersOf[kind as EventKind];
    const named = `session key ${signer.sessionKey.slice(0, 12)}`;
    if (delegation === undefined || timeMs >= delegation.expiresAtMs)
      return fault('delegations', seq, kind, `a hotkey's delegation in force of ${named}`, 'none');
    if (allowed.includes(delegation.role)) return null;
    return fault(
      'delegations',
      seq,
      kind,
      `a signature as ${allowed.join(' or ')}`,
      `${named}, a ${delegation.role}'s`,
    );
  }

  #checkSeenHead({ entry: { seq, message } }: OpenedEntry): RecordFault | null {
    const { seenHead, kind } = message;
    if (seenHead === null) return null;
    const root = this.#heads.get(seenHead.size);
    this.#counts.seenHeads++;
    if (root === seenHead.root) return null;
    const expected = root === undefined ? 'a head of this journal' : `head ${root} of ${seenHead.size} entries`;
    return fault('tree heads', seq, kind, expected, `${seenHead.root} of ${seenHead.size}, which the signer has seen`);
  }

  #checkBody({ entry: { seq, message: envelope }, message }: OpenedEntry): RecordFault | null {
    const { kind, signer } = message;
    if ((kind === 'run') !== (seq === 0))
      return fault('journal', seq, kind, seq === 0 ? 'a run event' : 'another event', kind);
    if (kind === 'run') {
      const { owner } = message.body.manifest;
      const run = bindingOfRun({ seq, message: envelope } as OpenedEntry['entry'])!.run;
      if (envelope.run !== run) return fault('journal', seq, kind, `run ${run}`, envelope.run);
      if (signer.kind === 'hotkey' && signer.hotkey === owner) return null;
      return fault('signatures', seq, kind, `the owner ${owner}`, envelope.signer);
    }
    if (kind === 'delegate') return this.#checkDelegation(seq, message.body, message);
    if (kind === 'tree-head') return this.#checkHead(seq, message.body);
    const owner = this.#manifest?.owner;
    if (kind === 'amendment' && (signer.kind !== 'hotkey' || signer.hotkey !== owner))
      return fault('signatures', seq, kind, `the owner ${owner}`, envelope.signer);
    return null;
  }

  #checkDelegation(seq: number, body: Delegate, { signer, envelope }: OpenedMessage): RecordFault | null {
    const wrong = (expected: string, found: string) => fault('delegations', seq, 'delegate', expected, found);
    if (signer.kind !== 'hotkey' || signer.hotkey !== body.hotkey) return wrong(body.hotkey, envelope.signer);
    if (body.role === 'syncer' && body.hotkey !== this.#manifest?.owner)
      return wrong(`the run's owner ${this.#manifest?.owner} for a syncer`, body.hotkey);
    const before = this.#delegations.get(keyOf(body));
    if (before !== undefined && body.issuedAtMs <= before.issuedAtMs)
      return wrong(`one issued after ${before.issuedAtMs}`, String(body.issuedAtMs));
    const holder = this.#sessions.get(body.sessionKey);
    if (holder !== undefined && holder !== keyOf(body)) return wrong('a session key of its own', `that of ${holder}`);
    return null;
  }

  /** The stated head against the leaves, then against the head before it by a consistency proof, and its newest leaf. */
  #checkHead(seq: number, { size, root }: EventBody<'tree-head'>): RecordFault | null {
    const own = this.size === 0 ? '' : toHex(this.#log.rootAt(this.size));
    if (size !== this.size || root !== own)
      return fault('tree heads', seq, 'tree-head', `head ${own} of ${this.size} entries`, `${root} of ${size}`);
    const rootBytes = fromHex(root)!;
    if (this.#lastHead !== null && this.#lastHead.size > 0) {
      const { size: first, root: firstRoot } = this.#lastHead;
      const proof = this.#log.consistencyProof(first, size);
      if (!verifyConsistency({ first, firstRoot: fromHex(firstRoot)!, second: size, secondRoot: rootBytes, proof }))
        return fault('tree heads', seq, 'tree-head', `a tree that begins with head ${firstRoot} of ${first}`, root);
      this.#counts.consistencyProofs++;
    }
    for (const index of new Set([this.#lastHead?.size ?? 0, size - 1])) {
      const proof = this.#log.inclusionProof(index, size);
      const leaf = this.#log.leafAt(index);
      if (!verifyInclusion({ leaf, index, size, proof, root: rootBytes }))
        return fault('tree heads', seq, 'tree-head', `entry ${index} in the head`, `a head without it`);
      this.#counts.inclusionProofs++;
    }
    return null;
  }

  #take({ entry, message }: OpenedEntry, text: string): void {
    const bytes = utf8(text);
    this.#headHash = toHex(sha256(bytes)) as Hash;
    this.#log.append(leafHash(bytes));
    this.#timeMs = entry.timeMs;
    this.#counts.entries++;
    if (message.signer.kind === 'hotkey') this.#counts.hotkeySignatures++;
    else this.#counts.sessionSignatures++;
    switch (message.kind) {
      case 'run':
        this.#binding = bindingOfRun(entry);
        this.#manifest = message.body.manifest;
        return;
      case 'delegate': {
        const before = this.#delegations.get(keyOf(message.body));
        if (before !== undefined) this.#sessions.delete(before.sessionKey);
        this.#delegations.set(keyOf(message.body), message.body);
        this.#sessions.set(message.body.sessionKey, keyOf(message.body));
        this.#counts.delegations++;
        return;
      }
      case 'tree-head':
        this.#lastHead = { size: message.body.size, root: message.body.root };
        this.#heads.set(message.body.size, message.body.root);
        this.#counts.treeHeads++;
        return;
      case 'release-published':
        this.#files.set(message.body.release, message.body.files);
        return;
      default:
    }
  }
}

function fault(step: RecordStep, seq: number, event: string, expected: string, found: string): RecordFault {
  return { step, seq, event, expected, found };
}

function faultOfLine(seq: number, line: LineFault): RecordFault {
  if (line.code === null) return fault('journal', seq, line.event, line.expected, line.found);
  const isSignature = line.code === 'BAD_SIGNATURE' || line.code === 'WRONG_SIGNER';
  const expected = isSignature
    ? 'a strict signature of the named key over these bytes'
    : line.code === 'BROKEN_CHAIN'
      ? 'an entry that names the hash of the one before it'
      : 'an entry in its form';
  return fault(isSignature ? 'signatures' : 'journal', seq, line.event, expected, `${line.code}: ${line.sentence}`);
}
