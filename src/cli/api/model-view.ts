/** @file What the read API says of a run's model, and what one learner of it needs: estimates from the contract and the plan. */
import { bytesPerToken } from '../../data/shards.ts';
import type { ModelView } from '../../http/api/sources.ts';
import { encodedSizeBytes } from '../../merge/codecs/fragment-file.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import type { RunManifest } from '../../protocol/manifest.ts';
import { stateSizeBytes } from '../../roles/learner/state-format.ts';
import { runModelOf } from '../../roles/run-model.ts';

/** Program, engine and text of one learner. Measured: a `tiny` learner takes about this. */
const programBytes = 300e6;

export function modelViewOf(manifest: RunManifest): ModelView {
  const { config, plan } = runModelOf(manifest);
  const { total, active } = countParameters(config);
  const { sync, audit, tokenizer, phases } = manifest;
  const state = stateSizeBytes(plan, manifest);
  const sequenceTokens = phases[0]!.sequenceLength;
  const leaseBytes = sync.leaseSequences * sequenceTokens * bytesPerToken(tokenizer.vocabSize);
  const fragments = plan.fragments.map((fragment) => encodedSizeBytes(manifest.codec, fragment));
  return {
    paramsTotal: total,
    paramsActive: Math.round(active),
    layers: config.num_hidden_layers,
    experts: config.num_experts,
    expertsPerToken: config.num_experts_per_tok,
    vocabSize: config.vocab_size,
    // Parameters, gradients and two moments, and the snapshot that a claim is taken from.
    memoryBytes: Math.round(programBytes + 4 * 5 * total),
    // States for audits: the newest window, and those that are being made.
    diskBytes: audit.perTempo === 0 ? 4 * total : 4 * total + (audit.window + 4) * state,
    downloadBytes: 4 * total + leaseBytes,
    uploadBytesPerClaim: Math.round(fragments.reduce((sum, bytes) => sum + bytes, 0) / fragments.length),
  };
}
