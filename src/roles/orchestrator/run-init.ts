/**
 * @file Makes a new run: its manifest from a preset and a prepared corpus, its start checkpoint as fragments in the
 * store, and the first two entries of its journal (run, delegation of the syncer). The same seed, corpus and keys give
 * the same run but for its time of creation.
 */
import type { Catalog, CatalogShard } from '../../data/catalog.ts';
import { manifestShards } from '../../data/catalog.ts';
import { buildPages, encodePageIndex, type PagedShard, pagedFromBytes } from '../../data/shard-pages.ts';
import { packFragment } from '../../merge/fragment-values.ts';
import { type QuasarLongConfig, toConfigJson } from '../../model/quasar-long/config.ts';
import type { TensorSpec } from '../../model/quasar-long/contract.ts';
import { floatsOf, initTensor, type TensorValues } from '../../model/quasar-long/init.ts';
import { type PresetName, presetConfig } from '../../model/quasar-long/presets.ts';
import { runIdOf } from '../../protocol/hash.ts';
import type { HotkeySigner, SessionSigner } from '../../protocol/keys.ts';
import { type ArtifactRef, manifestSchema, type RunManifest, rulesVersion } from '../../protocol/manifest.ts';
import type { Envelope, EventBody } from '../../protocol/messages.ts';
import { signMessage } from '../../protocol/signing.ts';
import type { Store } from '../../store/port.ts';
import { FrozenTensors } from '../../training/frozen-tensors.ts';
import { contractOf } from '../../training/recipe.ts';
import { canonicalJson } from '../../util/canonical-json.ts';
import { inLanes } from '../../util/lanes.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import { contractHashOf, runModelOf, runSeedOf } from '../run-model.ts';
import { type RunPresetName, type RunSettings, runSettings } from '../run-presets.ts';
import { storeFragment } from './merge-runner.ts';

export interface NewRun {
  readonly name: string;
  readonly preset: PresetName;
  /** Instead of the preset's; all of them where the program has none for it. */
  readonly settings?: Partial<RunSettings>;
  /** Whole number or text; initialisation and data order follow from it. */
  readonly seed: string;
  readonly createdAtMs: number;
  /** Learners that the run is laid out for: the quorum is a majority of them; null: as the settings have it. */
  readonly learners: number | null;
  /** A checkpoint of others to start from; without, the seed gives the parameters. */
  readonly checkpoint?: StartCheckpoint;
  readonly ledger: Pick<RunManifest['ledger'], 'chainId' | 'netuid'>;
  readonly owner: HotkeySigner;
  readonly syncer: SessionSigner;
  /** Name of its delegation, if not `syncer`. */
  readonly syncerName?: string;
  readonly catalog: Catalog;
  /** Bytes of a file that the catalog names. */
  readonly readCatalogFile: (entry: { readonly file: string; readonly artifact: ArtifactRef }) => Uint8Array;
  readonly store: Store;
  readonly artifactOf: (bytes: Uint8Array) => ArtifactRef;
}

/** Where a run begins that does not begin from its seed. Its tokenizer is the corpus's: the caller sees to that. */
export interface StartCheckpoint {
  readonly config: QuasarLongConfig;
  /** A tensor of the contract, checked for shape and values. */
  readonly read: (name: string) => Promise<TensorValues>;
  /** For the manifest. */
  readonly start: NonNullable<RunManifest['start']>;
}

/** The config that a run of this preset trains with this corpus. */
export function runConfig(preset: PresetName, catalog: Catalog): QuasarLongConfig {
  return presetConfig(preset, {
    vocab_size: catalog.vocabSize,
    eos_token_id: catalog.endOfText,
    pad_token_id: catalog.endOfText,
    bos_token_id: startOfText(catalog),
  });
}

/** The tokenizers that a clone trains have the two special tokens side by side, end of text first. */
const startOfText = ({ startOfText, endOfText }: Catalog): number =>
  startOfText ?? (startOfText === null ? endOfText : endOfText + 1);

/** @throws ModelError BAD_FROZEN */
export function buildManifest(
  options: Omit<NewRun, 'store' | 'artifactOf' | 'readCatalogFile' | 'syncer'>,
  pages: ArtifactRef | null = null,
): RunManifest {
  const { catalog, preset } = options;
  const { sequenceLength, targetTokens, schedule, phases, ledger, sync, ...settings } = {
    ...(runSettings as Partial<typeof runSettings>)[preset as RunPresetName],
    ...options.settings,
  } as RunSettings;
  const config = options.checkpoint?.config ?? runConfig(preset, catalog);
  const { learners } = options;
  return manifestSchema.parse({
    version: rulesVersion,
    name: options.name,
    ledger: { ...options.ledger, ...ledger },
    owner: options.owner.hotkey,
    createdAtMs: options.createdAtMs,
    seed: runSeedOf(options.seed),
    model: {
      preset,
      config: canonicalJson(toConfigJson(config)),
      contractHash: contractHashOf(contractOf(config, settings.recipe)),
    },
    tokenizer: {
      artifact: catalog.tokenizer.artifact,
      configArtifact: catalog.tokenizerConfig.artifact,
      vocabSize: catalog.vocabSize,
    },
    data: { shards: manifestShards(catalog), ...(pages === null ? {} : { pages }) },
    phases: (phases ?? [{ name: 'base', targetTokens, sequenceLength, schedule }]).map((phase) => ({
      ...phase,
      mixture: phase.mixture ?? catalog.mixture,
    })),
    ...settings,
    sync: learners === null ? sync : { ...sync, quorum: Math.floor(learners / 2) + 1 },
    ...(options.checkpoint === undefined ? {} : { start: options.checkpoint.start }),
  });
}

/**
 * Stores what the manifest names and returns the journal's first messages. Stopped or failed, nothing of the run is there but
 * artifacts, which are not stored again. @throws ModelError, DataError, StoreError; the signal's reason
 */
export async function initRun(
  options: NewRun,
  signal?: AbortSignal,
): Promise<readonly [run: Envelope, delegation: Envelope]> {
  const { catalog, store, owner } = options;
  // What is wrong with the settings is told before terabytes are stored.
  buildManifest(options);
  for (const entry of [catalog.tokenizer, catalog.tokenizerConfig])
    await store.put(entry.artifact, options.readCatalogFile(entry));
  const manifest = buildManifest(options, await storeShards(options, signal));
  const start = await storeStart(options, manifest, signal);
  const { chainId, netuid } = manifest.ledger;
  const context = { chainId, netuid, run: runIdOf(manifest), seenHead: null };
  const delegation = syncerDelegation({ ...options, issuedAtMs: options.createdAtMs });
  const run = { manifest, start: start.fragments, ...(start.frozen === null ? {} : { frozen: start.frozen }) };
  return [signMessage(owner, 'run', run, context), signMessage(owner, 'delegate', delegation, context)];
}

/** Shards that are stored at once; their bytes are in memory meanwhile, so of large ones fewer. */
const storedAtOnce = { shards: 4, bytes: 2 ** 30 };

/** The shards, and what proves parts of the large ones; null: there is none. */
async function storeShards(options: NewRun, signal: AbortSignal | undefined): Promise<ArtifactRef | null> {
  const { catalog, store, artifactOf } = options;
  const { shards } = catalog;
  const rows: (PagedShard | null)[] = shards.map(() => null);
  const largest = shards.reduce((most, { artifact }) => Math.max(most, artifact.sizeBytes), 1);
  const atOnce = Math.max(1, Math.min(storedAtOnce.shards, Math.floor(storedAtOnce.bytes / largest)));
  await inLanes(shards.length, { atOnce, signal }, async (i, until) => {
    rows[i] = await storeShard(options, shards[i]!, until);
  });
  if (rows.every((row) => row === null)) return null;
  const index = encodePageIndex(rows);
  const ref = artifactOf(index);
  await store.put(ref, index);
  return ref;
}

async function storeShard(
  { store, artifactOf, readCatalogFile }: NewRun,
  shard: CatalogShard,
  signal: AbortSignal,
): Promise<PagedShard | null> {
  const bytes = readCatalogFile(shard);
  await store.put(shard.artifact, bytes, { signal });
  if (bytes.byteLength < pagedFromBytes) return null;
  const { root, table } = buildPages(bytes, nodeSha256);
  const ref = artifactOf(table);
  await store.put(ref, table, { signal });
  return { root, table: ref };
}

/** The owner's word that a session key is a syncer of his run. */
export function syncerDelegation(
  parts: Pick<NewRun, 'owner' | 'syncer' | 'syncerName'> & { readonly issuedAtMs: number },
): EventBody<'delegate'> {
  const { owner, syncer, syncerName = 'syncer', issuedAtMs } = parts;
  return {
    hotkey: owner.hotkey,
    role: 'syncer',
    name: syncerName,
    sessionKey: syncer.sessionKey,
    issuedAtMs,
    expiresAtMs: issuedAtMs + 10 * 365 * 86_400_000,
  };
}

/** The start checkpoint: one artifact a fragment, and the frozen tensors together. One fragment's tensors are in memory at a time. */
async function storeStart(
  options: NewRun,
  manifest: RunManifest,
  signal: AbortSignal | undefined,
): Promise<{ readonly fragments: readonly ArtifactRef[]; readonly frozen: ArtifactRef | null }> {
  const { config, contract, plan } = runModelOf(manifest);
  const specs = new Map(contract.map((spec) => [spec.name, spec]));
  const valuesOf = async (name: string): Promise<TensorValues> =>
    options.checkpoint?.read(name) ?? initTensor(config, specs.get(name)!, manifest.seed);
  const fragments: ArtifactRef[] = [];
  let params = new Map<string, TensorValues>();
  for (const fragment of plan.fragments) {
    signal?.throwIfAborted();
    const known = params;
    params = new Map();
    for (const { name } of [...fragment.slices, ...fragment.selectionBiases])
      if (!params.has(name)) params.set(name, known.get(name) ?? (await valuesOf(name)));
    const values = packFragment(fragment, (name) => floatsOf(params, name));
    fragments.push(await storeFragment(options, fragment, values));
  }
  return { fragments, frozen: await storeFrozen(options, contract, manifest, valuesOf) };
}

async function storeFrozen(
  { store, artifactOf }: Pick<NewRun, 'store' | 'artifactOf'>,
  contract: readonly TensorSpec[],
  { recipe }: RunManifest,
  valuesOf: (name: string) => Promise<TensorValues>,
): Promise<ArtifactRef | null> {
  if (recipe.frozen === undefined) return null;
  const frozen = new FrozenTensors(contract, recipe.frozen.dtype);
  for (const name of frozen.stored.keys()) {
    const values = await valuesOf(name);
    frozen.set(name, floatsOf(new Map([[name, values]]), name));
  }
  const bytes = frozen.encode();
  const ref = artifactOf(bytes);
  await store.put(ref, bytes);
  return ref;
}
