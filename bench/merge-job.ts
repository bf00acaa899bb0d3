/**
 * @file One merge at the real size in a process of its own, so that its peak of memory is its own: a fragment of the
 * `quasar-preview` plan, eight learners, synthetic bytes. The states are made on the fly from a small table; learners' artifacts
 * too (f32), or lie in a folder store (topk, int8). Prints a line of JSON.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CodecName } from '../src/merge/codecs/codec.ts';
import { codecs, encodedSizeBytes, locateSlices, stateLayout } from '../src/merge/codecs/fragment-file.ts';
import { type Fragment, planFragments, sliceName } from '../src/merge/fragment-plan.ts';
import { pieceElements } from '../src/merge/norms.ts';
import { sharedStaging } from '../src/merge/staging.ts';
import { toConfigJson } from '../src/model/quasar-long/config.ts';
import { presetConfig } from '../src/model/quasar-long/presets.ts';
import { pieceBytes } from '../src/protocol/artifact.ts';
import type { ArtifactRef, RunManifest } from '../src/protocol/manifest.ts';
import { fromDecimal, type Hash } from '../src/protocol/names.ts';
import type { ReadPart } from '../src/roles/artifact-reader.ts';
import type { MergeInput } from '../src/roles/merge-computation.ts';
import { contractHashOf } from '../src/roles/run-model.ts';
import { runSettings } from '../src/roles/run-presets.ts';
import { namingWriter, streamMerge } from '../src/roles/streamed-merge.ts';
import { notFound } from '../src/store/errors.ts';
import { FsStore } from '../src/store/fs.ts';
import { hashArtifact } from '../src/store/node-hash.ts';
import type { ArtifactWriter } from '../src/store/port.ts';
import * as reference from '../src/tensor/kernels/reference.ts';
import { encodeSafetensorsHeader } from '../src/tensor/safetensors.ts';
import { contractOf } from '../src/training/recipe.ts';
import { canonicalJson } from '../src/util/canonical-json.ts';
import { Rng } from '../src/util/rng.ts';
import { ArtifactCache } from '../src/verify/artifact-cache.ts';
import { createMergeJudge } from '../src/verify/merge-judge.ts';

import { SyntheticFile, table } from './synthetic-file.ts';

export interface MergeJobResult {
  readonly elements: number;
  readonly learners: number;
  readonly claimBytes: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly beforeBytes: number;
  readonly peakBytes: number;
  /** The merge judged as `accrete verify` judges it; null: it was not. */
  readonly verifyCpuMs: number | null;
  /** Numbers of parameters and momentum that were held against the reference, all equal. */
  readonly sampled: number;
}

const learnerCount = 8;
const samples = 512;
const rng = new Rng('samples');

/** Takes what is written, and keeps the bytes at the sampled places. */
async function samplingWriter(
  at: readonly number[],
): Promise<ArtifactWriter & { readonly floats: Map<number, number> }> {
  const inner = await namingWriter();
  const floats = new Map<number, number>();
  let [written, next] = [0, 0];
  return {
    ...inner,
    floats,
    async write(bytes) {
      for (; next < at.length && at[next]! < written + bytes.byteLength; next++)
        floats.set(at[next]!, new DataView(bytes.buffer, bytes.byteOffset).getFloat32(at[next]! - written, true));
      written += bytes.byteLength;
      await inner.write(bytes);
    },
  };
}

/** A learner's artifact in a lossy codec, written slice by slice. */
async function storeClaim(store: FsStore, codec: CodecName, fragment: Fragment, seed: number): Promise<ArtifactRef> {
  const slices = new Map(fragment.slices.map((slice) => [sliceName(slice), slice]));
  const biases = new Map(fragment.selectionBiases.map((slice) => [sliceName(slice), slice]));
  const parts = [
    ...fragment.slices.flatMap((slice) => codecs[codec].parts(slice)),
    ...fragment.selectionBiases.flatMap((slice) => codecs.f32.parts(slice)),
  ];
  const { header, order } = encodeSafetensorsHeader(parts, { format: 'accrete-fragment/1', codec });
  const writer = await store.parts.create!(encodedSizeBytes(codec, fragment));
  await writer.write(header);
  const step = 2 ** 18;
  const residue = new Float32Array(step);
  for (const { name, sizeBytes } of order) {
    if (biases.has(name)) {
      await writer.write(new Uint8Array(sizeBytes));
      continue;
    }
    const isScale = name.endsWith('.scale');
    const slice = slices.get(isScale ? name.slice(0, -6) : name)!;
    for (let from = 0; from < slice.length; from += step) {
      const x = table
        .subarray(0, Math.min(step, slice.length - from))
        .map((value, i) => value * ((seed + i) % 3 === 0 ? 1 : -1));
      const sizes = codecs[codec].bytesOf(x.length);
      const out = sizes.map((size) => new Uint8Array(size));
      codecs[codec].encode(sharedStaging(), x, out, residue.subarray(0, x.length));
      await writer.write(out[isScale ? 1 : 0]!);
    }
  }
  return writer.finish();
}

const [codec, fragmentCount, where, isVerified] = process.argv.slice(2) as [
  CodecName,
  string,
  'synthetic' | 'files',
  'verify' | undefined,
];
const config = presetConfig('quasar-preview');
const settings = runSettings.nano;
const contract = contractOf(config, settings.recipe);
const fragment = planFragments(contract, Number(fragmentCount)).fragments[0]!;
const { header } = stateLayout(fragment);
const stateBytes = encodedSizeBytes('f32', fragment);
const files = new Map<Hash, SyntheticFile>();
const synthetic = (salt: number): ArtifactRef => {
  const file = new SyntheticFile(header, stateBytes, salt);
  const artifact = file.name();
  files.set(artifact.root, file);
  return artifact;
};
const dir = mkdtempSync(join(tmpdir(), 'accrete-merge-bench-'));
try {
  const store = await FsStore.open(dir);
  const claims: ArtifactRef[] = [];
  for (let m = 0; m < learnerCount; m++)
    claims.push(codec === 'f32' ? synthetic(m + 2) : await storeClaim(store, codec, fragment, m));
  const states: ArtifactRef[] = [];
  for (const salt of [0, 1]) states.push(synthetic(salt));
  if (where === 'files')
    for (const artifact of states) {
      const writer = await store.parts.create!(stateBytes);
      for (let from = 0; from < stateBytes; from += pieceBytes)
        await writer.write(files.get(artifact.root)!.read({ from, to: Math.min(stateBytes, from + pieceBytes) }));
      await writer.finish();
    }
  const isMade = (root: Hash): boolean => where === 'synthetic' && files.has(root);
  const read: ReadPart = async (artifact, range) =>
    isMade(artifact.root) ? files.get(artifact.root)!.read(range) : store.parts.read(artifact, range);
  const manifest = {
    ...settings,
    codec,
    merge: { ...settings.merge, outerMomentum: '0.9', outerLearningRate: '0.7' },
    fragments: { count: Number(fragmentCount) },
    model: { config: canonicalJson(toConfigJson(config)), contractHash: contractHashOf(contract) },
  } as unknown as RunManifest;
  const input = {
    ...{ outerStep: 24, fragment: 0, fromVersion: 1, artifact: states[0]!, momentum: states[1]!, recentNorms: [] },
    claims: claims.map((artifact, m) => ({
      claim: {
        id: `claim ${m}`,
        hotkey: `hotkey ${m}`,
        name: 'a',
        cellTokens: 1000 + m,
        body: { artifact, steps: [0, 6] },
      },
      staleness: 0,
    })),
  } as unknown as MergeInput;
  const dataAt = header.byteLength;
  const last = stateBytes - 4 * fragment.selectionBiasCount;
  const sampledAt = Array.from({ length: samples }, () => dataAt + 4 * rng.below((last - dataAt) / 4)).sort(
    (a, b) => a - b,
  );
  const biasNames = new Set(fragment.selectionBiases.map((slice) => sliceName(slice)));
  const layout = locateSlices('f32', fragment, header, stateBytes);
  const isBiasAt = (at: number): boolean =>
    layout.some(({ parts: [part] }) => biasNames.has(part!.name) && at >= part!.at && at < part!.at + part!.sizeBytes);
  const writers: Awaited<ReturnType<typeof samplingWriter>>[] = [];
  const create = async (sizeBytes: number): Promise<ArtifactWriter> => {
    if (where === 'files') return store.parts.create!(sizeBytes);
    writers.push(await samplingWriter(sampledAt));
    return writers.at(-1)!;
  };
  const beforeBytes = process.memoryUsage().rss;
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  const merged = await streamMerge(input, { manifest, fragment, read, create });
  const ms = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  const verifyCpuMs = isVerified === 'verify' ? await verifyAgain() : null;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  let sampled = 0;
  if (codec === 'f32' && where === 'synthetic') {
    const shares = merged.shares.map((each) => fromDecimal(each.share));
    checkNorm(fromDecimal(merged.shares[0]!.norm));
    for (const at of sampledAt.filter((each) => !isBiasAt(each))) {
      const [theta, momentum] = states.map(({ root }) => Float32Array.of(files.get(root)!.float(at)));
      const learners = claims.map(({ root }, m) => ({
        x: Float32Array.of(files.get(root)!.float(at)),
        weight: shares[m]!,
      }));
      reference.weightedNesterov(learners, theta!, momentum!, 0.7, 0.9);
      if (writers[0]!.floats.get(at) !== theta![0] || writers[1]!.floats.get(at) !== momentum![0])
        throw new Error(`byte ${at}: the merge differs from the reference`);
      sampled++;
    }
  }
  const claimBytes = claims.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const result: MergeJobResult = {
    ...{
      elements: fragment.elementCount,
      learners: learnerCount,
      claimBytes,
      ms,
      cpuMs: (user + system) / 1000,
      verifyCpuMs,
    },
    ...{ beforeBytes, peakBytes, sampled },
  };
  console.log(JSON.stringify(result));

  async function verifyAgain(): Promise<number> {
    const part: ReadPart = async (artifact, range) => {
      if (!files.has(artifact.root) && (await store.stat(artifact.root)) === null) throw notFound(artifact.root);
      return read(artifact, range);
    };
    const whole = () => Promise.reject(new Error('an artifact was read whole'));
    const cache = new ArtifactCache({ artifact: whole, part }, 0);
    const judge = createMergeJudge({ manifest, cache, artifactOf: hashArtifact, isInParts: () => true });
    const { theta, momentum, shares } = merged;
    const before = process.cpuUsage();
    const judgement = await judge({ input, published: { fragment: 0, version: 2, artifact: theta, momentum, shares } });
    const { user, system } = process.cpuUsage(before);
    if (!judgement.isRecomputed || judgement.faults.length > 0)
      throw new Error(`the merge does not verify: ${JSON.stringify(judgement)}`);
    return (user + system) / 1000;
  }

  /** The first claim's norm by a plain loop over its numbers, in lanes and pieces. */
  function checkNorm(found: number): void {
    const file = files.get(claims[0]!.root)!;
    let sum = 0;
    let lanes = new Float64Array(16);
    let i = 0;
    const endPiece = (): void => {
      let piece = 0;
      for (const lane of lanes) piece += lane;
      sum += piece;
      lanes = new Float64Array(16);
    };
    for (const { slice, isBias, parts } of layout) {
      if (isBias) continue;
      for (let e = 0; e < slice.length; e++) {
        const x = file.float(parts[0]!.at + 4 * e);
        lanes[i & 15]! += x * x;
        if (++i % pieceElements === 0) endPiece();
      }
    }
    endPiece();
    if (found !== Math.sqrt(sum)) throw new Error(`norm: ${found}, by a plain loop ${Math.sqrt(sum)}`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
