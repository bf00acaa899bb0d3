/** @file The files that `accrete simulate --out` and `accrete plan --out` write, as this page reads them: strangers' bytes, bounded and checked. */
import { z } from 'zod';

export const maxResultBytes = 64 * 1024 * 1024;

const samples = z
  .array(
    z.object({ hour: z.number(), mergedTokens: z.number(), doneTokens: z.number(), up: z.number(), loss: z.number() }),
  )
  .max(100_000);
const earner = z.object({
  hotkey: z.string().max(64),
  doneTokens: z.number(),
  workShare: z.number(),
  paidShare: z.number(),
  fairness: z.number().nullable(),
  temposToFirstPay: z.number().nullable(),
});
const fairness = z.object({
  earners: z.array(earner).max(100_000),
  effectiveEarners: z.number(),
  effectiveWorkers: z.number(),
});
const about = { command: z.string().max(4_000) };
const texts = z.array(z.string().max(4_000)).max(100);

const counts = z.record(z.string().max(64), z.number());
const attack = z.object({
  name: z.string().max(64),
  about: z.string().max(1_000),
  miners: z.number(),
  validators: z.number(),
  earned: z.number().nullable(),
  validatorsEarned: z.number().nullable(),
  caughtBy: counts,
  honestPaid: z.number(),
  honestCapacity: z.number(),
  honestPay: z.tuple([z.number(), z.number()]).nullable(),
});

const simulation = z.object({
  ...about,
  format: z.literal('accrete-simulation/1'),
  name: z.string().max(64),
  hours: z.number(),
  notes: texts,
  learners: z.number(),
  events: z.number(),
  journalBytes: z.number(),
  goodput: z.number(),
  uptime: z.number(),
  loss: z.number(),
  fairness,
  squareRule: fairness,
  // Files of before attacks and added faults have neither.
  attack: attack.nullable().default(null),
  faults: counts,
  chaos: counts.default({}),
  samples,
});
const trained = z.object({
  ...about,
  format: z.literal('accrete-trained/1'),
  name: z.string().max(64),
  hours: z.number(),
  notes: texts,
  learners: z.number(),
  events: z.number(),
  merges: z.number(),
  faults: counts,
  chaos: counts,
  samples: z
    .array(
      z.object({
        hour: z.number(),
        mergedTokens: z.number(),
        doneTokens: z.number(),
        up: z.number(),
        heldOut: z.number(),
        modelled: z.number(),
      }),
    )
    .max(10_000),
});
const goodput = z.object({
  ...about,
  format: z.literal('accrete-goodput/1'),
  hours: z.number(),
  assumptions: texts,
  rows: z
    .array(
      z.object({
        chips: z.number(),
        learners: z.number(),
        kind: z.string().max(32),
        published: z.number(),
        ours: z.number(),
        uptime: z.number(),
      }),
    )
    .max(1_000),
});
const plan = z.object({
  ...about,
  format: z.literal('accrete-plan/2'),
  run: z.string().max(64),
  fleet: z.string().max(64),
  notes: texts,
  learners: z.number(),
  tokensADay: z.number(),
  utilisation: z.number(),
  paidTokensADay: z.number(),
  store: z.object({
    bytes: z.number(),
    parts: z.object({ current: z.number(), superseded: z.number(), claims: z.number(), auditStates: z.number() }),
    bytesInADay: z.number(),
    bytesOutADay: z.number(),
  }),
  journal: z.object({
    eventsADay: z.number(),
    bytesADay: z.number(),
    events: z.number().nullable(),
    bytes: z.number().nullable(),
  }),
  validators: z.object({
    count: z.number(),
    needed: z.number(),
    shareOfTraining: z.number(),
    replaySecondsADay: z.number(),
    gainSecondsADay: z.number(),
    checkSecondsADay: z.number(),
    fetchSecondsADay: z.number(),
    bytesDownADay: z.number(),
  }),
  kinds: z
    .array(
      z.object({
        kind: z.string().max(32),
        machines: z.number(),
        tokensPerSecond: z.number(),
        availability: z.number(),
        bytesUpADay: z.number(),
        claimBytesADay: z.number(),
        auditBytesADay: z.number(),
        bytesDownADay: z.number(),
        joinSeconds: z.number(),
        tokensADay: z.number(),
        isPaid: z.boolean(),
      }),
    )
    .max(1_000),
  phases: z
    .array(
      z.object({
        name: z.string().max(64),
        targetTokens: z.number(),
        tokensADay: z.number(),
        endDays: z.number().nullable(),
      }),
    )
    .max(64),
  limits: z.array(z.string().max(1_000)).max(10_000),
  sensitivities: z
    .array(
      z.object({
        change: z.string().max(200),
        timeFactor: z.number().nullable(),
        endDays: z.number().nullable(),
        paidShare: z.number(),
      }),
    )
    .max(100),
});

const resultSchema = z.discriminatedUnion('format', [simulation, trained, goodput, plan]);
export type Result = z.infer<typeof resultSchema>;
export type SimulationResult = z.infer<typeof simulation>;
export type TrainedResult = z.infer<typeof trained>;
export type AttackResult = z.infer<typeof attack>;
export type GoodputResult = z.infer<typeof goodput>;
export type PlanResult = z.infer<typeof plan>;

export function parseResult(text: string): { readonly result: Result } | { readonly fault: string } {
  if (text.length > maxResultBytes) return { fault: 'the file is larger than 64 MiB' };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { fault: 'the file is not JSON' };
  }
  const parsed = resultSchema.safeParse(json);
  if (parsed.success) return { result: parsed.data };
  const issue = parsed.error.issues[0]!;
  return { fault: `the file is no result of accrete simulate or plan: ${issue.path.join('.')}: ${issue.message}` };
}
