/**
 * @file A release of the `quasar-preview` plan, or of another preset's, in a process of its own: every file of the checkpoint made from 24 synthetic states, in
 * parts, and named, as the syncer writes it and as `accrete verify` makes it again. Nothing is written. Prints a line of JSON.
 */
import { checkpointFiles } from '../src/export/checkpoint-files.ts';
import { encodedSizeBytes, stateLayout } from '../src/merge/codecs/fragment-file.ts';
import { planFragments } from '../src/merge/fragment-plan.ts';
import { buildContract, countParameters } from '../src/model/quasar-long/contract.ts';
import { type PresetName, presetConfig } from '../src/model/quasar-long/presets.ts';
import { FragmentTensors } from '../src/roles/fragment-tensors.ts';
import { ArtifactHasher } from '../src/store/node-hash.ts';
import { SyntheticFile } from './synthetic-file.ts';

export interface ReleaseJobResult {
  readonly parameters: number;
  readonly stateBytes: number;
  readonly fileBytes: number;
  readonly files: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly peakBytes: number;
}

const config = presetConfig((process.argv[2] ?? 'quasar-preview') as PresetName);
const contract = buildContract(config);
const plan = planFragments(contract, 24);
const states = new Map<string, SyntheticFile>();
const heads = plan.fragments.map((fragment, id) => {
  const state = new SyntheticFile(stateLayout(fragment).header, encodedSizeBytes('f32', fragment), id);
  const artifact = state.name();
  states.set(artifact.root, state);
  return artifact;
});
const tensors = new FragmentTensors({
  ...{ model: { config, contract, plan }, heads, seed: '00' },
  read: async (artifact, range) => states.get(artifact.root)!.read(range),
});
const content = {
  ...{ config, files: new Map(), dtype: 'BF16' as const },
  card: { name: 'bench', licence: 'apache-2.0', summary: '', numbers: [], sources: [], notes: [] },
};
const files = checkpointFiles(content, tensors.parts);
const cpu = process.cpuUsage();
const startedAt = performance.now();
let [fileBytes, made] = [0, 0];
for (const file of files) {
  const hasher = new ArtifactHasher();
  for await (const { bytes } of file.chunks()) {
    hasher.update(bytes);
    fileBytes += bytes.byteLength;
  }
  hasher.finish();
  made++;
}
await tensors.settle();
const { user, system } = process.cpuUsage(cpu);
const result: ReleaseJobResult = {
  ...{
    parameters: countParameters(config).total,
    stateBytes: heads.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  },
  ...{ fileBytes, files: made, ms: performance.now() - startedAt, cpuMs: (user + system) / 1000 },
  peakBytes: process.resourceUsage().maxRSS * 1024,
};
console.log(JSON.stringify(result));
