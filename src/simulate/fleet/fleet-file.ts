/**
 * @file The machines of a run by kind, as `accrete plan` and `accrete simulate` read them: speeds, links, hours, failures; who
 * validates; what goes wrong for all. Parsed at the edge; a fault names the field.
 */
import { z } from 'zod';
import { codecNames, stateFormats } from '../../protocol/manifest.ts';
import { acceleratorNamed, accelerators, mfuRange, tokensPerSecondOf } from './accelerators.ts';

const name = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,31}$/, 'expected 1-32 of a-z, 0-9, . and -');
const positive = z.number().positive().max(1e15);
const rate = z.number().min(0).max(1e6);

export const machineKindSchema = z.strictObject({
  kind: name,
  count: z.int().min(1).max(100_000),
  /** Of one inner loop on one machine of this kind, for the model of the run. Left out: from the table, by `accelerator`. */
  tokensPerSecond: positive.optional(),
  /** A name of the table of accelerators (`accelerators.ts`), how many are in one machine, and the share of their peak. */
  accelerator: name.optional(),
  accelerators: z.int().min(1).max(10_000_000).optional(),
  mfu: z.number().gt(0).lte(1).optional(),
  /** Of all its accelerators together, for a plan; left out: the table's, or not looked at where there is no accelerator. */
  memoryGib: positive.optional(),
  /** Fastest over slowest machine of the kind; speeds lie between, evenly by their logarithm, around `tokensPerSecond`. */
  spread: z.number().min(1).max(1_000).default(1),
  upMbps: positive.default(100),
  downMbps: positive.default(400),
  latencyMs: z.number().min(0).max(60_000).default(50),
  /** Share of packets lost: bytes are sent again, requests too. */
  lossRate: z.number().min(0).max(0.9).default(0),
  hoursADay: z.number().gt(0).lte(24).default(24),
  /** Of one machine: what is not claimed is lost, and it is away for `restartSeconds`. */
  failuresADay: rate.default(0),
  restartSeconds: z.number().min(0).max(604_800).default(120),
  /** A part of the machine fails and the rest goes on after `stallSeconds`: nothing is lost but time. */
  stallsADay: rate.default(0),
  stallSeconds: z.number().min(0).max(86_400).default(0),
  /** Slow for a while: how often a day, how slow, how long. */
  slowdownsADay: rate.default(0),
  slowdownFactor: z.number().min(1).max(1_000).default(4),
  slowdownMinutes: z.number().min(0).max(10_000).default(30),
  /** Machines of one site are cut off and lost together. */
  site: name.default('home'),
  learnersPerHotkey: z.int().min(1).max(10_000).default(1),
  /** The first joins after so many hours, each further one so much later. */
  joinHour: z.number().min(0).max(1e5).default(0),
  joinEveryHours: z.number().min(0).max(1e4).default(0),
  /** Leaves for good after so long. */
  leaveAfterHours: z.number().gt(0).max(1e5).optional(),
});
export type MachineKind = z.infer<typeof machineKindSchema>;

const runSchema = z.strictObject({
  /** Preset of the model. */
  preset: z.enum(['tiny', 'nano', 'nano-gguf', 'small', 'quasar-preview']).optional(),
  sequenceLength: z.int().min(1).max(1_048_576).optional(),
  batchSequences: z.int().min(1).max(65_536).optional(),
  targetTokens: z.int().min(1).optional(),
  fragments: z.int().min(1).max(4_096).optional(),
  innerSteps: z.int().min(1).max(100_000).optional(),
  quorum: z.int().min(1).max(100_000).optional(),
  graceSeconds: z.tuple([z.number().min(0), z.number().min(0)]).optional(),
  deadlineSeconds: z.number().gt(0).optional(),
  maxStaleness: z.int().min(0).max(1_000).optional(),
  revealSeconds: z.number().gt(0).optional(),
  verdictSeconds: z.number().gt(0).optional(),
  leaseSequences: z.int().min(1).max(10_000_000).optional(),
  leaseSeconds: z.number().gt(0).optional(),
  stateRootEverySteps: z.int().min(1).max(10_000).optional(),
  codec: z.enum(codecNames).optional(),
  blockSeconds: z.number().gt(0).max(3_600).optional(),
  tempoBlocks: z.int().min(8).max(100_000).optional(),
  auditsPerTempo: z.int().min(0).max(64).optional(),
  auditWindow: z.int().min(1).max(1_024).optional(),
  auditAnswerSeconds: z.number().gt(0).optional(),
  stateFormat: z.enum(stateFormats).optional(),
  gainShare: z.number().min(0).max(1).optional(),
  releaseEveryMerges: z.int().min(1).max(10_000).optional(),
  committee: z.int().min(1).max(64).optional(),
});
export type RunOverrides = z.infer<typeof runSchema>;

export const fleetSchema = z.strictObject({
  name,
  about: z.string().max(2_000).default(''),
  machines: z.array(machineKindSchema).min(1).max(1_000),
  validators: z
    .strictObject({
      count: z.int().min(1).max(256).default(3),
      /** Of one validator, for replays and gain tests; left out: the median machine's. */
      tokensPerSecond: positive.optional(),
      /** To fetch and check one claim without a gain test. */
      checkSeconds: z.number().min(0).max(3_600).default(1),
      /** For a plan: claims and states come down by it. */
      downMbps: positive.default(1_000),
    })
    .default({ count: 3, checkSeconds: 1, downMbps: 1_000 }),
  faults: z
    .strictObject({
      /** Of each site: cut off from the syncer, and lost with all its machines. */
      partitionsADay: rate.default(0),
      partitionMinutes: z.number().min(0).max(10_000).default(5),
      siteLossesADay: rate.default(0),
      siteLossMinutes: z.number().min(0).max(100_000).default(60),
    })
    .default({ partitionsADay: 0, partitionMinutes: 5, siteLossesADay: 0, siteLossMinutes: 60 }),
  run: runSchema.default({}),
  /** Bytes of claims that the syncer merges in a second. */
  mergeBytesPerSecond: positive.default(1e9),
});
export type Fleet = z.infer<typeof fleetSchema>;

/** @returns the fleet, or the sentence that says which field is wrong */
export function parseFleet(json: unknown): { readonly fleet: Fleet } | { readonly fault: string } {
  const parsed = fleetSchema.safeParse(json);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.') || '(file)'}: ${message}`);
    return { fault: faults.slice(0, 20).join('\n  ') };
  }
  const kinds = parsed.data.machines.map(({ kind }) => kind);
  const twice = kinds.find((kind, i) => kinds.indexOf(kind) !== i);
  if (twice !== undefined) return { fault: `machines: two kinds are called ${twice}` };
  for (const { kind, tokensPerSecond, accelerator } of parsed.data.machines) {
    if ((tokensPerSecond === undefined) === (accelerator === undefined))
      return { fault: `machines: ${kind} needs tokensPerSecond or an accelerator of the table, and one of them only` };
    if (accelerator !== undefined && acceleratorNamed(accelerator) === undefined)
      return {
        fault: `machines: ${kind}: no accelerator is called ${accelerator}; the table has ${accelerators.map(({ name }) => name).join(', ')}`,
      };
  }
  return { fleet: parsed.data };
}

/** Of one machine of the kind; null: nobody said. */
export function memoryGibOf({ memoryGib, accelerator, accelerators: count }: MachineKind): number | null {
  if (memoryGib !== undefined) return memoryGib;
  return accelerator === undefined ? null : acceleratorNamed(accelerator)!.memoryGib * (count ?? 1);
}

/** Of one machine of the kind. */
export function speedOf(kind: MachineKind, activeParameters: number, mfu: number = mfuRange.middle): number {
  if (kind.tokensPerSecond !== undefined) return kind.tokensPerSecond;
  const { peakTflops } = acceleratorNamed(kind.accelerator!)!;
  return tokensPerSecondOf({ peakTflops, count: kind.accelerators ?? 1, mfu: kind.mfu ?? mfu, activeParameters });
}
