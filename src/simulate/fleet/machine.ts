/**
 * @file A simulated machine: how fast it trains now, how long bytes take, and when it can be reached. Faults only change what is
 * said here; what follows from them is decided by the roles.
 */
import type { Rng } from '../../util/rng.ts';
import type { EventQueue } from './event-queue.ts';
import type { MachineKind } from './fleet-file.ts';

/** Machines that are cut off and lost together. */
export class Site {
  readonly name: string;
  /** Cut off until then. */
  cutUntilMs = 0;
  /** Without power until then. */
  lostUntilMs = 0;

  constructor(name: string) {
    this.name = name;
  }
}

export class Machine {
  readonly kind: MachineKind;
  readonly site: Site;
  readonly tokensPerSecond: number;
  /** Hours [from, to) of each virtual day in which it is on. */
  readonly hours: readonly [from: number, to: number];
  #slow = { untilMs: 0, factor: 1 };
  /** Beside what its kind says, until then. */
  #link = { untilMs: 0, lossRate: 0, factor: 1 };
  /** Part of the present inner step that is waited for a repair. */
  #stallMs = 0;
  #standsUntilMs = 0;
  readonly #queue: Pick<EventQueue, 'nowMs'>;
  readonly #rng: Rng;
  #upFreeMs = 0;
  #downFreeMs = 0;
  /** Uploads beside the others, the first to end first. */
  #behind: { endMs: number }[] = [];

  constructor(options: {
    kind: MachineKind;
    site: Site;
    tokensPerSecond: number;
    queue: Pick<EventQueue, 'nowMs'>;
    rng: Rng;
  }) {
    const { kind, site, tokensPerSecond, queue, rng } = options;
    this.kind = kind;
    this.site = site;
    this.tokensPerSecond = tokensPerSecond;
    this.#queue = queue;
    this.#rng = rng;
    const from = kind.hoursADay === 24 ? 0 : 24 * rng.uniform();
    this.hours = [from, from + kind.hoursADay];
  }

  get isReachable(): boolean {
    return this.#queue.nowMs >= this.site.cutUntilMs;
  }

  /** Waits for a repair, in the middle of an inner step or not. */
  get isStanding(): boolean {
    return this.#queue.nowMs < this.#standsUntilMs;
  }

  /** Of one inner step that begins now, waiting for repairs in it included. */
  stepMs(tokens: number): number {
    const factor = this.#queue.nowMs < this.#slow.untilMs ? this.#slow.factor : 1;
    const stallMs = this.#stallMs;
    this.#stallMs = 0;
    return (1_000 * tokens * factor) / this.tokensPerSecond + stallMs;
  }

  /** A part fails, and what is there waits for it; what stands still does not fail again. */
  stall(ms: number): void {
    if (this.#queue.nowMs < this.#standsUntilMs) return;
    this.#standsUntilMs = this.#queue.nowMs + ms;
    this.#stallMs += ms;
  }

  slowFor(spell: { readonly untilMs: number; readonly factor: number }): void {
    this.#slow = spell;
  }

  worsenLink(link: { readonly untilMs: number; readonly lossRate: number; readonly factor: number }): void {
    this.#link = link;
  }

  get #lossRate(): number {
    const { untilMs, lossRate } = this.#link;
    const added = this.#queue.nowMs < untilMs ? lossRate : 0;
    return 1 - (1 - this.kind.lossRate) * (1 - added);
  }

  get #linkFactor(): number {
    return this.#queue.nowMs < this.#link.untilMs ? this.#link.factor : 1;
  }

  /** When a short message that is sent now has come and was answered. */
  roundTripMs(): number {
    const { latencyMs } = this.kind;
    const lossRate = this.#lossRate;
    let tries = 1;
    while (lossRate > 0 && this.#rng.uniform() < lossRate) tries++;
    // A lost message is sent again after a second.
    return this.#reachMs() + latencyMs + (tries - 1) * 1_000;
  }

  /** From now until the bytes are there; what was begun before goes first, but for `uploadBehind`, which has half of the link. */
  uploadMs(bytes: number): number {
    const { upMbps } = this.kind;
    const beginMs = this.#beginMs(this.#upFreeMs);
    const ownMs = this.#wireMs(bytes, upMbps);
    this.#behind = this.#behind.filter(({ endMs }) => endMs > this.#queue.nowMs);
    const sharedMs = Math.min(ownMs, Math.max(0, (this.#behind.at(-1)?.endMs ?? 0) - beginMs));
    for (const transfer of this.#behind) transfer.endMs += ownMs;
    this.#upFreeMs = beginMs + ownMs + sharedMs;
    return this.#upFreeMs - this.#queue.nowMs;
  }

  /** What is larger than all others and has more time, one after another; its end moves with every upload that comes beside it. */
  uploadBehind(bytes: number): { readonly endMs: number } {
    const beginMs = this.#beginMs(this.#behind.at(-1)?.endMs ?? 0);
    const ownMs = this.#wireMs(bytes, this.kind.upMbps);
    const sharedMs = Math.min(ownMs, Math.max(0, this.#upFreeMs - beginMs));
    const transfer = { endMs: beginMs + ownMs + sharedMs };
    this.#behind.push(transfer);
    return transfer;
  }

  downloadMs(bytes: number): number {
    this.#downFreeMs = this.#beginMs(this.#downFreeMs) + this.#wireMs(bytes, this.kind.downMbps);
    return this.#downFreeMs - this.#queue.nowMs;
  }

  /** Nothing is under way any more. */
  forgetTransfers(): void {
    this.#upFreeMs = 0;
    this.#downFreeMs = 0;
    this.#behind = [];
    this.#stallMs = 0;
  }

  #beginMs(freeMs: number): number {
    return Math.max(freeMs, this.#queue.nowMs + this.#reachMs() + this.kind.latencyMs);
  }

  #wireMs(bytes: number, mbps: number): number {
    return (bytes * 8 * this.#linkFactor) / (mbps * 1e3) / (1 - this.#lossRate);
  }

  /** Whoever is cut off waits for the end of it. */
  #reachMs(): number {
    return Math.max(0, this.site.cutUntilMs - this.#queue.nowMs);
  }
}
