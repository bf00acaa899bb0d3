/**
 * @file A fleet of which a stated share attacks: which machines and validators are the attacker's, what they and the honest ones
 * work with, and in the end what they earned beside honest machines of the same speed, and which codes were said of them.
 */
import type { Audit, Claim, RunState } from '../../journal/state.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hotkey, LearnerId } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';
import { fairnessOf } from './fairness.ts';
import type { FleetAttack, Lies } from './fleet-attacks.ts';
import type { Fleet, MachineKind } from './fleet-file.ts';
import { type AuditFinding, FleetJudge } from './fleet-judge.ts';
import type { Payment } from './fleet-ledger.ts';
import type { FleetMiner } from './fleet-miner.ts';
import { LearnerWork } from './learner-work.ts';
import { SimulatedBytes } from './simulated-bytes.ts';
import type { FleetSizes } from './sizes.ts';
import type { SyntheticRoots } from './synthetic-roots.ts';

export interface AttackedOptions {
  readonly attack: FleetAttack;
  /** Of the machines' owners. */
  readonly share: number;
  readonly fleet: Fleet;
  readonly hours: number;
  readonly seed: string;
  readonly run: RunState;
  readonly sizes: FleetSizes;
  readonly roots: SyntheticRoots;
}

/** A validator's judgement: honest, or what it says instead. */
export interface Judging {
  verdict(claim: Claim, round: EventBody<'verdict'>['round']): EventBody<'verdict'>;
  audit(audit: Audit): AuditFinding;
}

export interface AttackOutcome {
  readonly name: string;
  readonly about: string;
  /** Hotkeys of the attacker that mine, and that validate. */
  readonly miners: number;
  readonly validators: number;
  /** What his machines were paid over what honest ones of the same speed were paid for as much time; null without such machines. */
  readonly earned: number | null;
  /** What his validators were paid over what as many honest ones were. */
  readonly validatorsEarned: number | null;
  /** Codes said of his claims and audits, `OK` left out; bars of his validators. */
  readonly caughtBy: Readonly<Record<string, number>>;
  /** Of what all miners were paid, and of what all their machines could have trained: the honest part. */
  readonly honestPaid: number;
  readonly honestCapacity: number;
  /** Pay over work among honest hotkeys: the worst and the best. */
  readonly honestPay: readonly [worst: number, best: number] | null;
  /** Refused claims of honest miners over all their claims. */
  readonly honestRefused: number;
}

export class AttackedFleet {
  readonly attackers = new Set<Hotkey>();
  readonly lyingValidators = new Set<Hotkey>();
  readonly #options: AttackedOptions;
  readonly #bytes = new SimulatedBytes();
  readonly #judge: FleetJudge;
  readonly #owners: ReadonlySet<string>;
  readonly #splits = new Map<MachineKind, MachineKind>();
  /** By epoch: what each hotkey's machines could have trained in it. */
  readonly #capacity = new Map<number, Map<Hotkey, number>>();
  readonly #upMs = new Map<LearnerId, number>();

  constructor(options: AttackedOptions) {
    this.#options = options;
    this.#judge = new FleetJudge({ ...options, bytes: this.#bytes });
    this.#owners = drawOwners(options);
  }

  isAttacker(kind: string, owner: number): boolean {
    return this.#owners.has(`${kind}-${owner}`);
  }

  /** Parts that the machine is split into, each with its share of the links. */
  split(kind: MachineKind, owner: number): { readonly kind: MachineKind; readonly parts: number } {
    const parts = this.isAttacker(kind.kind, owner) ? this.#options.attack.split : 1;
    if (parts === 1) return { kind, parts };
    const { upMbps, downMbps } = kind;
    const split = this.#splits.get(kind) ?? {
      ...kind,
      ...{ kind: `${kind.kind}, split`, upMbps: upMbps / parts, downMbps: downMbps / parts },
    };
    this.#splits.set(kind, split);
    return { kind: split, parts };
  }

  workOf(learner: LearnerId, hotkey: Hotkey, isAttacker: boolean): LearnerWork {
    const { attack, run, sizes, roots } = this.#options;
    const options = { learner, hotkey, run, bytes: this.#bytes, sizes, roots };
    if (!isAttacker) return new LearnerWork(options);
    this.attackers.add(hotkey);
    return attack.work!(options);
  }

  judgingOf(validator: Hotkey, index: number): Judging {
    const { attack, fleet } = this.#options;
    const { validatorShare } = attack;
    const liars = validatorShare === 0 ? 0 : Math.max(1, Math.floor(validatorShare * fleet.validators.count));
    const lies: Lies = index < liars ? (attack.lies ?? {}) : {};
    if (index < liars) this.lyingValidators.add(validator);
    const isFriend = (hotkey: Hotkey): boolean => this.attackers.has(hotkey);
    return {
      verdict: (claim, round) => {
        const honest = this.#judge.verdict(claim, { round, validator });
        return lies.verdict?.(honest, claim, isFriend) ?? honest;
      },
      audit: (audit) => {
        const honest = this.#judge.redo(audit);
        return lies.audit?.(honest, audit, isFriend) ?? honest;
      },
    };
  }

  /** At the end of each epoch of the ledger: what its machines could have trained since the last. */
  onEpoch(epoch: number, miners: readonly FleetMiner[]): void {
    const of = new Map<Hotkey, number>();
    for (const miner of miners) {
      const { hotkey, machine } = miner.options;
      const upMs = miner.upMsSoFar;
      const tokens = (machine.tokensPerSecond * (upMs - (this.#upMs.get(miner.id) ?? 0))) / 1_000;
      this.#upMs.set(miner.id, upMs);
      of.set(hotkey.hotkey, (of.get(hotkey.hotkey) ?? 0) + tokens);
    }
    this.#capacity.set(epoch, of);
  }

  outcome(payments: readonly Payment[], work: readonly ReadonlyMap<Hotkey, number>[]): AttackOutcome {
    const { attack, run } = this.#options;
    const { name, about } = attack;
    const { honestPaid, honestCapacity, earned } = this.#earnings(payments);
    const hotkeys = [...run.hotkeys.values()];
    const honest = [...new Set([...run.learners.values()].map(({ hotkey }) => hotkey))].filter(
      (hotkey) => !this.attackers.has(hotkey),
    );
    const fair = fairnessOf({
      work: work.map((tempo) => new Map([...tempo].filter(([hotkey]) => !this.attackers.has(hotkey)))),
      ...{ payments, hotkeys: honest, joinedEpoch: new Map() },
    }).earners.flatMap(({ fairness }) => (fairness === null ? [] : [fairness]));
    const claims = [...run.learners.values()].filter(({ hotkey }) => !this.attackers.has(hotkey));
    const committed = claims.reduce((sum, each) => sum + each.claims.committed, 0);
    const refused = claims.reduce((sum, each) => sum + each.claims.refused, 0);
    const barred = hotkeys.filter((each) => each.barred !== null && this.lyingValidators.has(each.hotkey)).length;
    return {
      ...{ name, about, miners: this.attackers.size, validators: this.lyingValidators.size, earned },
      validatorsEarned: this.#validatorsEarned(payments),
      caughtBy: { ...codesOf(run, this.attackers), ...(barred > 0 ? { BARRED: barred } : {}) },
      ...{ honestPaid, honestCapacity },
      honestPay: fair.length === 0 ? null : [Math.min(...fair), Math.max(...fair)],
      honestRefused: committed === 0 ? 0 : refused / committed,
    };
  }

  #earnings(payments: readonly Payment[]): Pick<AttackOutcome, 'earned' | 'honestPaid' | 'honestCapacity'> {
    const [paid, capacity] = [
      { honest: 0, attackers: 0 },
      { honest: 0, attackers: 0 },
    ];
    let expected = 0;
    for (const { epoch, shares } of payments) {
      const now = { honest: 0, attackers: 0, honestCapacity: 0, attackersCapacity: 0 };
      for (const [hotkey, tokens] of this.#capacity.get(epoch) ?? []) {
        const who = this.attackers.has(hotkey) ? 'attackers' : 'honest';
        now[who] += shares.get(hotkey) ?? 0;
        now[`${who}Capacity`] += tokens;
      }
      paid.honest += now.honest;
      paid.attackers += now.attackers;
      capacity.honest += now.honestCapacity;
      capacity.attackers += now.attackersCapacity;
      if (now.honestCapacity > 0) expected += (now.honest * now.attackersCapacity) / now.honestCapacity;
    }
    const share = ({ honest, attackers }: typeof paid): number =>
      honest + attackers === 0 ? 1 : honest / (honest + attackers);
    const earned = this.attackers.size === 0 ? null : expected === 0 ? 0 : paid.attackers / expected;
    return { earned, honestPaid: share(paid), honestCapacity: share(capacity) };
  }

  #validatorsEarned(payments: readonly Payment[]): number | null {
    if (this.lyingValidators.size === 0) return null;
    const { run } = this.#options;
    const all = [...run.hotkeys.values()].filter(({ machineClass }) => machineClass !== null);
    const mean = (isLiar: boolean): number => {
      const own = all.filter(({ hotkey }) => this.lyingValidators.has(hotkey) === isLiar);
      const sum = own.reduce(
        (s, { hotkey }) => s + payments.reduce((p, { shares }) => p + (shares.get(hotkey) ?? 0), 0),
        0,
      );
      return own.length === 0 ? 0 : sum / own.length;
    };
    return mean(false) === 0 ? 0 : mean(true) / mean(false);
  }
}

/**
 * By lot, over all kinds: which owners' machines attack. At least one where the attack needs machines; of those that are there by the
 * middle of the run, as others can neither earn much nor be caught.
 */
function drawOwners({ attack, share, fleet, hours, seed }: AttackedOptions): Set<string> {
  if (attack.work === null) return new Set();
  const owners = fleet.machines.flatMap(({ kind, count, learnersPerHotkey, joinHour, joinEveryHours }) =>
    Array.from({ length: Math.ceil(count / learnersPerHotkey) }, (_, owner) => owner)
      .filter((owner) => joinHour + owner * learnersPerHotkey * joinEveryHours <= hours / 2)
      .map((owner) => `${kind}-${owner}`),
  );
  const rng = new Rng(`attackers ${seed}`);
  const count = Math.min(owners.length, Math.max(1, Math.round(share * owners.length)));
  return new Set(Array.from({ length: count }, () => owners.splice(rng.below(owners.length), 1)[0]!));
}

function codesOf(run: RunState, attackers: ReadonlySet<Hotkey>): Record<string, number> {
  const codes: Record<string, number> = {};
  const count = (code: string | null): void => {
    if (code !== null && code !== 'OK') codes[code] = (codes[code] ?? 0) + 1;
  };
  for (const claim of run.claims.values()) if (attackers.has(claim.hotkey)) count(claim.code);
  for (const audit of run.audits.values()) if (attackers.has(audit.body.hotkey)) count(audit.code);
  return Object.fromEntries(Object.entries(codes).sort(([a], [b]) => (a < b ? -1 : 1)));
}
