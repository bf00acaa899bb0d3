/**
 * @file A small fleet that truly trains preset tiny: whole roles with real training, bytes, checks and replays on the virtual
 * clock (`network.ts`), with the speeds, links, days and faults of a fleet's file. What comes out is a measured loss beside the
 * stated model of it.
 */
import type { Ed25519Equation } from '../../protocol/ed25519.ts';
import { learnerIdOf } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';
import type { CorpusBytes } from '../corpus-store.ts';
import { SimulatedNetwork } from '../network.ts';
import { heldOutLoss } from '../scenario.ts';
import { simulationSettings } from '../settings.ts';
import { type FaultCounts, type Living, liveThrough, noFaults, type Timeline, troubleSites } from './faults.ts';
import { type FleetFault, type FleetFaultKind, type Life, scheduleFaults } from './fleet-chaos.ts';
import { type Fleet, type MachineKind, speedOf } from './fleet-file.ts';
import { modelledLoss } from './loss-model.ts';
import { Machine, Site } from './machine.ts';
import { activeParametersOf } from './run-manifest.ts';
import { withOverrides } from './run-overrides.ts';
import { sizesOf } from './sizes.ts';

export const trainedFormat = 'accrete-trained/1';
/** Whole roles in one process: more would take hours of real time. */
export const mostTrainedMachines = 16;

export interface TrainedSample {
  readonly hour: number;
  readonly mergedTokens: number;
  readonly doneTokens: number;
  readonly up: number;
  /** Nats a token on held-out text, measured; and what the model of loss says. */
  readonly heldOut: number;
  readonly modelled: number;
}

export interface TrainedOutcome {
  readonly format: typeof trainedFormat;
  readonly command: string;
  readonly name: string;
  readonly seed: string;
  readonly hours: number;
  readonly notes: readonly string[];
  readonly learners: number;
  readonly validators: number;
  readonly events: number;
  readonly headHash: string;
  readonly merges: number;
  readonly faults: FaultCounts;
  readonly chaos: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  readonly samples: readonly TrainedSample[];
}

export interface TrainedOptions extends CorpusBytes {
  readonly fleet: Fleet;
  readonly hours: number;
  readonly seed: string;
  readonly chaos: readonly FleetFault[];
  /** Points of the curves after the first. */
  readonly samples: number;
  readonly equation: Ed25519Equation;
  readonly onSample?: (sample: TrainedSample) => void;
}

const hourMs = 3_600_000;

export async function trainFleet(
  options: TrainedOptions,
): Promise<Omit<TrainedOutcome, 'command' | 'name' | 'notes' | 'format'>> {
  const { fleet, hours, seed } = options;
  const count = fleet.machines.reduce((sum, kind) => sum + kind.count, 0);
  const { quorum } = fleet.run;
  const network = await SimulatedNetwork.open({
    ...options,
    settings: withOverrides(simulationSettings, fleet.run),
    // The quorum is a majority of so many.
    minerCount: quorum === undefined ? count : 2 * quorum - 1,
  });
  try {
    for (let i = 0; i < fleet.validators.count; i++) await network.addValidator(`validator-${i}`);
    const [faults, chaos] = [noFaults(), new Map<FleetFaultKind, number>()];
    const miners = addMachines(network, options, { faults, chaos });
    const samples: TrainedSample[] = [];
    for (let i = 0; i <= options.samples; i++) {
      if (i > 0) await network.pass(Math.round((hours * hourMs) / options.samples));
      samples.push(await sampleOf(network, { hour: (hours * i) / options.samples, miners }));
      options.onSample?.(samples.at(-1)!);
    }
    const { run } = network;
    return {
      ...{ seed, hours, learners: count, validators: fleet.validators.count },
      ...{ events: run.size, headHash: run.headHash, merges: run.merges, faults, samples },
      chaos: Object.fromEntries([...chaos].sort()),
      failures: network.failures.map(({ name, error }) => `${name}: ${String(error)}`),
    };
  } finally {
    await network.close();
  }
}

async function sampleOf(
  network: SimulatedNetwork,
  { hour, miners }: { readonly hour: number; readonly miners: readonly Living[] },
): Promise<TrainedSample> {
  const { run, manifest } = network;
  const mergedTokens = run.cellTokens / manifest.fragments.count;
  return {
    ...{ hour, mergedTokens },
    doneTokens: network.miners.reduce((sum, { tokens }) => sum + tokens, 0),
    up: miners.filter(({ isUp }) => isUp).length,
    heldOut: await heldOutLoss(network),
    modelled: modelledLoss(sizesOf(manifest), mergedTokens),
  };
}

function addMachines(
  network: SimulatedNetwork,
  { fleet, seed, chaos: plan }: TrainedOptions,
  { faults: counts, chaos }: { readonly faults: FaultCounts; readonly chaos: Map<FleetFaultKind, number> },
): Living[] {
  const { clock } = network;
  const startMs = clock.nowMs();
  const queue: Timeline = {
    get nowMs() {
      return clock.nowMs();
    },
    after: (ms, action) => void clock.sleep(Math.ceil(ms)).then(action),
    at: (timeMs, action) => void clock.sleep(Math.ceil(timeMs - clock.nowMs())).then(action),
  };
  const sites = new Map<string, Site>();
  const lives: (Life & { readonly site: Site })[] = [];
  for (const kind of fleet.machines) {
    const rng = new Rng(`machines ${seed} ${kind.kind}`);
    const site = sites.get(kind.site) ?? new Site(kind.site);
    sites.set(kind.site, site);
    for (let index = 0; index < kind.count; index++) {
      const machine = new Machine({ kind, site, tokensPerSecond: speedOfMachine(kind, index), queue, rng });
      const { miner, life } = network.addMachine({ name: `${kind.kind}-${index}`, stepMs: 0, machine });
      const living: Living = {
        id: learnerIdOf(miner.hotkey.hotkey, miner.name),
        get isUp() {
          return life.isUp && machine.isReachable;
        },
        // Its heartbeats are real ones: they stay away by themselves.
        options: { machine, onSilence: () => {} },
        start: () => {
          machine.forgetTransfers();
          life.start();
        },
        stop: life.stop,
        crash: life.crash,
      };
      lives.push({ miner: living, site, come: liveThrough(living, { queue, startMs, index, seed, counts }) });
    }
  }
  const bySite = new Map(
    [...sites.values()].map((site) => [site, lives.filter((each) => each.site === site).map(({ miner }) => miner)]),
  );
  troubleSites(bySite, { queue, faults: fleet.faults, seed, counts });
  scheduleFaults(plan, { queue, startMs, lives, sites: bySite, counts: chaos });
  return lives.map(({ miner }) => miner);
}

/** The whole spread, from the slowest to the fastest by their index. */
function speedOfMachine(kind: MachineKind, index: number): number {
  const place = kind.count === 1 ? 0.5 : index / (kind.count - 1);
  return speedOf(kind, activeParametersOf('tiny')) * kind.spread ** (place - 0.5);
}
