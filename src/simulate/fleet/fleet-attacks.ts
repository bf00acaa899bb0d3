/**
 * @file Attacks that mean something without tensors, by the names of `attacks/catalogue.ts`: what a learner does instead of its
 * steps, which validators lie, how a machine is split. The others change what parameters hold, what a wire carries or who
 * sees which history, and are refused by name with the reason.
 */
import type { Audit, Claim } from '../../journal/state.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import { type Hash, type Hotkey, toDecimal } from '../../protocol/names.ts';
import type { TrainPlan } from '../../roles/miner/events.ts';
import { Rng } from '../../util/rng.ts';
import { attackNamed } from '../attacks/catalogue.ts';
import type { AuditFinding } from './fleet-judge.ts';
import { LearnerWork, type WorkOptions } from './learner-work.ts';
import { type ClaimContent, honestContent } from './simulated-bytes.ts';

type Verdict = EventBody<'verdict'>;

/** What a validator of the attacker says instead. */
export interface Lies {
  readonly verdict?: (honest: Verdict, claim: Claim, isFriend: (hotkey: Hotkey) => boolean) => Verdict;
  readonly audit?: (honest: AuditFinding, audit: Audit, isFriend: (hotkey: Hotkey) => boolean) => AuditFinding;
}

export interface FleetAttack {
  readonly name: string;
  readonly about: string;
  /** Null: no machine attacks. */
  readonly work: ((options: WorkOptions) => LearnerWork) | null;
  /** Of the validators, rounded down and at least one; 0: none. */
  readonly validatorShare: number;
  readonly lies?: Lies;
  /** Hotkeys that one machine of the attacker is split into. */
  readonly split: number;
}

/**
 * Takes a tenth of the time of a step and does none. One step it does, for a true state that it names and shows in every audit: whoever
 * has nothing to show is caught without a replay.
 */
abstract class IdleWork extends LearnerWork {
  #shown: Hash | null = null;

  protected override does(plan: TrainPlan): boolean {
    return this.#shown === null && plan.withStateRoot;
  }

  protected override namedState(): Hash {
    return (this.#shown ??= this.state);
  }
}

const noise: ClaimContent = { ...honestContent, gain: 0 };

class ZeroWork extends IdleWork {
  protected override content(): ClaimContent {
    return { ...noise, norm: 0 };
  }
}

class NoiseWork extends IdleWork {
  protected override content(): ClaimContent {
    return noise;
  }
}

class MalformedWork extends IdleWork {
  override claim(fragment: number): ArtifactRef {
    return { ...super.claim(fragment), sizeBytes: 4_096 };
  }

  protected override content(): ClaimContent {
    return { ...noise, isFragment: false };
  }
}

class CopyingWork extends IdleWork {
  protected override content(fragment: number): ClaimContent {
    const { run, hotkey } = this.options;
    const isOthers = (claim: Claim): boolean =>
      claim.body.fragment === fragment && claim.hotkey !== hotkey && claim.revealedAtMs !== null;
    const newest = [...run.claims.values()].findLast(isOthers);
    return newest === undefined ? noise : { ...honestContent, copyOf: newest.id };
  }
}

class StaleWork extends IdleWork {
  readonly #first = new Map<number, ArtifactRef>();

  override claim(fragment: number): ArtifactRef {
    const first = this.#first.get(fragment) ?? super.claim(fragment);
    this.#first.set(fragment, first);
    return first;
  }

  protected override does(plan: TrainPlan): boolean {
    return this.#first.size === 0 || super.does(plan);
  }

  protected override namedState(): Hash {
    return this.#first.size === 0 ? this.state : super.namedState();
  }
}

/** Its states are true ones: of what was done. */
class SandbaggingWork extends LearnerWork {
  protected override does({ step, withStateRoot }: TrainPlan): boolean {
    return withStateRoot || step % 10 === 0;
  }

  protected override content(): ClaimContent {
    return { ...honestContent, gain: honestContent.gain / 3 };
  }
}

class OtherDataWork extends LearnerWork {
  protected override reads(plan: TrainPlan): TrainPlan {
    return { ...plan, sequences: [[0, plan.sequences.reduce((sum, [from, to]) => sum + to - from, 0)]] };
  }
}

class MemorisingWork extends LearnerWork {
  readonly #first = new Map<number, TrainPlan['sequences']>();

  protected override reads(plan: TrainPlan): TrainPlan {
    const lease = plan.leases[0]!;
    const sequences = this.#first.get(lease) ?? plan.sequences;
    this.#first.set(lease, sequences);
    return { ...plan, sequences };
  }
}

class ScalingWork extends LearnerWork {
  protected override content(): ClaimContent {
    return { ...honestContent, norm: 100 };
  }
}

class WithholdingWork extends LearnerWork {
  override readonly reveals = false;
}

class HugeWork extends LearnerWork {
  override claim(fragment: number): ArtifactRef {
    return { ...super.claim(fragment), sizeBytes: 2 ** 40 };
  }
}

const accepting = (verdict: Verdict): Verdict => ({ ...verdict, outcome: 'accept', code: 'OK', sentence: '' });

const lying: Lies = {
  verdict: (verdict) => ({
    ...verdict,
    ...{ outcome: 'reject', code: 'MALFORMED', sentence: 'so it says', details: null, accused: [] },
  }),
};

function lazy(): Lies {
  const rng = new Rng('lazy');
  return {
    verdict: (verdict) => ({
      ...accepting(verdict),
      ...{ measurements: { norm: toDecimal(0.5 + rng.uniform()) }, details: null, accused: [] },
    }),
  };
}

const colluding: Lies = {
  verdict: (verdict, claim, isFriend) => (isFriend(claim.hotkey) ? { ...accepting(verdict), accused: [] } : verdict),
  audit: (finding, audit, isFriend) =>
    isFriend(audit.body.hotkey) ? { outcome: 'pass', code: 'OK', sentence: '', measurements: {} } : finding,
};

type Parts = Pick<FleetAttack, 'work'> & Partial<FleetAttack>;
const by = (Work: new (options: WorkOptions) => LearnerWork): Parts => ({ work: (options) => new Work(options) });

const parts: Readonly<Record<string, () => Parts>> = {
  'zero-work': () => by(ZeroWork),
  noise: () => by(NoiseWork),
  'stale-replay': () => by(StaleWork),
  copy: () => by(CopyingWork),
  'scale-100': () => by(ScalingWork),
  'other-data': () => by(OtherDataWork),
  sandbagging: () => by(SandbaggingWork),
  memorise: () => by(MemorisingWork),
  sybil: () => ({ ...by(LearnerWork), split: 4 }),
  'withheld-reveal': () => by(WithholdingWork),
  malformed: () => by(MalformedWork),
  huge: () => by(HugeWork),
  'lying-validator': () => ({ work: null, validatorShare: 0.2, lies: lying }),
  'lazy-validator': () => ({ work: null, validatorShare: 0.2, lies: lazy() }),
  'colluding-validators': () => ({ ...by(NoiseWork), validatorShare: 0.4, lies: colluding }),
};

/** Why the others are not simulated in fleets. */
const withoutMeaning: Readonly<Record<string, string>> = {
  'sign-flip': 'it harms parameters, and a fleet has none',
  'norm-inflation': 'it wins weight in a merged norm, and a fleet merges sizes',
  'router-collapse': 'it harms routers, and a fleet has none',
  'cross-run-replay':
    'such a message is refused before the journal, and a fleet hands its messages to the journal directly',
  'equivocating-syncer': 'all roles of a fleet share one fold, so nobody can be shown another history',
};

export const fleetAttackNames: readonly string[] = Object.keys(parts);

/** Made anew for each run; or the sentence that refuses a known attack. */
export function fleetAttackNamed(name: string): FleetAttack | { readonly refusal: string } {
  const made = Object.hasOwn(parts, name) ? parts[name]!() : null;
  const about = attackNamed(name)?.about ?? '';
  if (made !== null) return { validatorShare: 0, split: 1, ...made, name, about };
  const reason = withoutMeaning[name] ?? 'it is not modelled there';
  return {
    refusal: `${name} has no meaning in a fleet: ${reason}; run \`accrete simulate --attack ${name}\``,
  };
}
