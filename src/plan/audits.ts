/**
 * @file What audits ask of a learner: two states for each drawn segment, in a bounded time, and somebody who redoes it. Work
 * is paid only once an audit has passed (`journal/audits.ts`): where none can, a run merges and pays nobody.
 */
import type { RunManifest } from '../protocol/manifest.ts';
import type { MachineKind } from '../simulate/fleet/fleet-file.ts';
import type { FleetSizes } from '../simulate/fleet/sizes.ts';
import { uploadSeconds } from './pace.ts';
import { sayBytes, sayRate, saySeconds } from './sentences.ts';

const dayS = 86_400;

export interface AskedAudits {
  /** Of one learner and day. */
  readonly countADay: number;
  /** Of one answer: the states at both ends of a segment. */
  readonly answerBytes: number;
  readonly answerSeconds: number;
  /** The term of the manifest. */
  readonly givenSeconds: number;
  readonly bytesADay: number;
  /** Why none of them passes. */
  readonly faults: readonly string[];
}

export const tempoSeconds = ({ ledger }: Pick<RunManifest, 'ledger'>): number =>
  (ledger.tempoBlocks * ledger.blockMs) / 1_000;

/** An answered audit that is not redone for so long closes unchecked (`journal/audits.ts`). */
export const auditCheckSeconds = (manifest: RunManifest): number => Math.max(120, tempoSeconds(manifest) / 2);

/**
 * Why an audit is open at the end of every tempo, which holds the hotkey's pay over it, again and again; else null. Audits of a tempo
 * are drawn in equal parts of it and of one learner one after another (`audit-draw.ts` of the journal).
 */
export function heldBecause(
  { audit, ledger }: RunManifest,
  { learnersPerHotkey }: MachineKind,
  { answerSeconds, replaySeconds }: { readonly answerSeconds: number; readonly replaySeconds: number },
): string | null {
  if (audit.perTempo === 0) return null;
  const tempo = tempoSeconds({ ledger });
  const audits = Math.ceil(audit.perTempo / learnersPerHotkey);
  const given = Math.min((2 * tempo) / (audit.perTempo + 1), tempo / audits);
  const taken = answerSeconds + replaySeconds;
  if (taken <= given) return null;
  return `an audit is answered in ${saySeconds(answerSeconds)} and redone in ${saySeconds(replaySeconds)}, and ${saySeconds(given)} are left for the last of a tempo’s: one is always open, and holds the pay`;
}

/** Segments end with every S-th step: a slow machine makes fewer in a tempo than are drawn. */
export function auditsAskedOf(
  manifest: RunManifest,
  kind: MachineKind,
  options: { readonly sizes: FleetSizes; readonly stepSeconds: number; readonly availability: number },
): AskedAudits {
  const { audit, sync } = manifest;
  const { sizes, stepSeconds, availability } = options;
  const tempo = tempoSeconds(manifest);
  const segments = (kind.learnersPerHotkey * tempo) / (sync.stateRootEverySteps * stepSeconds);
  const countADay = (availability * dayS * Math.min(audit.perTempo, segments)) / (tempo * kind.learnersPerHotkey);
  const answerBytes = 2 * sizes.stateBytes;
  const answerSeconds = uploadSeconds(kind, answerBytes);
  const givenSeconds = audit.answerMs / 1_000;
  const bytesADay = countADay * answerBytes;
  const neededMbps = (8 * answerBytes) / givenSeconds / 1e6;
  const carried = (availability * dayS * kind.upMbps * 1e6 * (1 - kind.lossRate)) / 8;
  const faults: string[] = [];
  const isAudited = audit.perTempo > 0;
  if (isAudited && answerSeconds > givenSeconds)
    faults.push(
      `an audit asks for two states, ${sayBytes(answerBytes)}: ${saySeconds(answerSeconds)} at its ${sayRate(kind.upMbps)}, and ${saySeconds(givenSeconds)} are given (audit.answerMs): no audit is answered, every tempo's work is void and nothing is paid; it takes ${sayRate(neededMbps)} up, or a term of ${saySeconds(answerSeconds)}`,
    );
  if (isAudited && bytesADay > carried)
    faults.push(
      `audits ask for ${sayBytes(bytesADay)} of states a day, and its uplink carries ${sayBytes(carried)}: most are not answered, their tempos are void, and claims share the link with them`,
    );
  return { countADay, answerBytes, answerSeconds, givenSeconds, bytesADay, faults };
}
