/** @file How many bytes a run moves and keeps: claims and fragments by the plan of fragments, a learner's state, a release. */
import type { CodecName } from '../../merge/codecs/codec.ts';
import { encodedSizeBytes } from '../../merge/codecs/fragment-file.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { stateSizeBytes } from '../../roles/learner/state-format.ts';
import { runModelOf } from '../../roles/run-model.ts';

export interface FleetSizes {
  /** By fragment: one claim's file in the run's codec, and its published float32 state. */
  readonly claimBytes: readonly number[];
  readonly fragmentBytes: readonly number[];
  /** What an audit asks for twice: parameters, moments, residue, snapshots (`state-format.ts`). */
  readonly stateBytes: number;
  readonly parametersBytes: number;
  readonly totalParameters: number;
  readonly activeParameters: number;
  readonly vocabSize: number;
}

export function sizesOf(manifest: RunManifest): FleetSizes {
  const { config, plan } = runModelOf(manifest);
  const { total, active } = countParameters(config);
  const bytesOf = (codec: CodecName): number[] => plan.fragments.map((fragment) => encodedSizeBytes(codec, fragment));
  return {
    claimBytes: bytesOf(manifest.codec),
    fragmentBytes: bytesOf('f32'),
    stateBytes: stateSizeBytes(plan, manifest),
    parametersBytes: 4 * total,
    totalParameters: total,
    activeParameters: active,
    vocabSize: config.vocab_size,
  };
}
