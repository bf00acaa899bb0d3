/** @file The same seed, corpus and keys give the same run; what a new run names lies in the store and is the start. */
import { describe, expect, it } from 'vitest';
import { largeCorpus } from '../../../tests/support/large-corpus.ts';
import { networkOwner, networkSyncer, newTinyRun } from '../../../tests/support/local-network.ts';
import { tinyCorpus } from '../../../tests/support/tiny-corpus.ts';
import { decodePageIndex } from '../../data/shard-pages.ts';
import { encodeShard } from '../../data/shards.ts';
import { applyEvent } from '../../journal/fold.ts';
import { MemoryJournal } from '../../journal/memory.ts';
import { manifestOf } from '../../journal/queries.ts';
import { emptyState } from '../../journal/state.ts';
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { floatsOf, initParams } from '../../model/quasar-long/init.ts';
import { runIdOf } from '../../protocol/hash.ts';
import type { ArtifactRef } from '../../protocol/manifest.ts';
import type { EventBody } from '../../protocol/messages.ts';
import type { Hash } from '../../protocol/names.ts';
import { openEntry, signMessage } from '../../protocol/signing.ts';
import { StoreError } from '../../store/errors.ts';
import { MemoryStore } from '../../store/memory.ts';
import { hashArtifact } from '../../store/node-hash.ts';
import { bf16ToF32, f32ToBf16 } from '../../tensor/half.ts';
import { FrozenTensors } from '../../training/frozen-tensors.ts';
import { bindingOf } from '../client.ts';
import { runModelOf } from '../run-model.ts';
import { runSettings } from '../run-presets.ts';
import { buildManifest, initRun, type NewRun, runConfig } from './run-init.ts';
import { startJournal } from './shell.ts';

describe('buildManifest', () => {
  it('gives the same run for the same seed, and differs in nothing but the time of creation', () => {
    const [first, again] = [buildManifest(newTinyRun()), buildManifest(newTinyRun())];
    expect(runIdOf(again)).toBe(runIdOf(first));
    const later = buildManifest(newTinyRun({ createdAtMs: 1_800_000_000_000 }));
    expect(runIdOf(later)).not.toBe(runIdOf(first));
    expect({ ...later, createdAtMs: first.createdAtMs }).toEqual(first);
  });

  it('gives another run for another seed, name or number of learners', () => {
    const first = buildManifest(newTinyRun());
    expect(buildManifest(newTinyRun({ seed: '2' })).seed).not.toBe(first.seed);
    expect(buildManifest(newTinyRun({ learners: 5 })).sync.quorum).toBe(3);
    expect(buildManifest(newTinyRun({ learners: 1 })).sync.quorum).toBe(1);
    const ids = [{}, { seed: '2' }, { name: 'other' }, { learners: 5 }].map((change) =>
      runIdOf(buildManifest(newTinyRun(change))),
    );
    expect(new Set(ids).size).toBe(4);
  });

  it('fits the corpus, and every role derives its model from it', () => {
    const { catalog } = tinyCorpus();
    const manifest = buildManifest(newTinyRun());
    const { config, plan } = runModelOf(manifest);
    expect(config).toEqual(runConfig('tiny', catalog));
    expect(config).toMatchObject({ vocab_size: catalog.vocabSize, eos_token_id: catalog.endOfText });
    expect(plan.fragments).toHaveLength(manifest.fragments.count);
    expect(manifest.owner).toBe(networkOwner.hotkey);
    expect(() =>
      runModelOf({ ...manifest, model: { ...manifest.model, contractHash: '0'.repeat(64) as never } }),
    ).toThrow(/another version of Accrete/);
  });
});

describe('a run that freezes', () => {
  const frozen = { tensors: ['*.A_log', 'lm_head.weight'], dtype: 'bf16' as const };
  const settings = { ...runSettings.tiny, recipe: { ...runSettings.tiny.recipe, frozen } };

  it('has another contract, whose frozen tensors are stored beside the fragments', async () => {
    const store = new MemoryStore();
    const [run] = await initRun(newTinyRun({ store, settings }));
    const body = run.body as EventBody<'run'>;
    const { contract, plan, config } = runModelOf(body.manifest);
    expect(body.manifest.model.contractHash).not.toBe(buildManifest(newTinyRun()).model.contractHash);
    expect(plan.fragments.flatMap(({ slices }) => slices.map(({ name }) => name))).not.toContain('lm_head.weight');
    const tensors = new FrozenTensors(contract, 'bf16');
    tensors.load(await store.get(body.frozen!));
    const initial = initParams(config, body.manifest.seed);
    for (const [{ name }, values] of tensors.widened())
      expect(values, name).toEqual(bf16ToF32(f32ToBf16(floatsOf(initial, name))));
  });

  it('is journaled only with its frozen tensors, and no other run has any', async () => {
    const other = { root: '0'.repeat(64) as Hash, sizeBytes: 1 };
    const cases: [Partial<NewRun>, { frozen?: ArtifactRef }][] = [
      [{ settings }, {}],
      [{}, { frozen: other }],
    ];
    for (const [changes, artifact] of cases) {
      const { manifest, start } = (await initRun(newTinyRun(changes)))[0].body as EventBody<'run'>;
      const context = { chainId: 'test-chain', netuid: 1, run: runIdOf(manifest), seenHead: null };
      const message = signMessage(networkOwner, 'run', { manifest, start, ...artifact }, context);
      const starting = startJournal(new MemoryJournal(), [message], 1_700_000_000_000);
      await expect(starting).rejects.toThrow(/MALFORMED.*frozen: an artifact/);
    }
  });

  it('names the pattern that names nothing', () => {
    const recipe = { ...settings.recipe, frozen: { ...frozen, tensors: ['*.nothing'] } };
    expect(() => buildManifest(newTinyRun({ settings: { ...settings, recipe } }))).toThrow(/\*\.nothing names no/);
  });
});

describe('initRun', () => {
  it('stores the corpus, and the initial parameters as fragments', async () => {
    const store = new MemoryStore();
    const [run] = await initRun(newTinyRun({ store }));
    const { manifest, start } = run.body as EventBody<'run'>;
    const { tokenizer, data } = manifest;
    for (const artifact of [
      tokenizer.artifact,
      tokenizer.configArtifact,
      ...data.shards.map((shard) => shard.artifact),
    ])
      expect(await store.stat(artifact.root)).toBe(artifact.sizeBytes);
    const { config, contract, plan } = runModelOf(manifest);
    const expected = initParams(config, manifest.seed);
    const exchanged = contract.filter(({ kind }) => kind === 'param' || kind === 'selection-bias');
    const params = new Map(
      exchanged.map(({ name }) => [name, new Float32Array(expected.get(name)!.length).fill(Number.NaN)]),
    );
    for (const fragment of plan.fragments) {
      const values = decodeFragment('f32', fragment, await store.get(start[fragment.id]!));
      unpackFragment(fragment, values, (name) => params.get(name)!);
    }
    for (const [name, values] of params) expect(values, name).toEqual(expected.get(name));
  });

  describe('of many shards', () => {
    const small = Array.from({ length: 9 }, (_, n) => {
      const ids = Array.from({ length: 400 + n }, (_, i) => i % 60);
      const bytes = encodeShard(ids, tinyCorpus().catalog.vocabSize);
      const entry = { file: `part-${n}.tokens`, artifact: hashArtifact(bytes), about: '' };
      return {
        bytes,
        entry: { ...entry, source: 'parts', tokens: ids.length, licence: 'CC0-1.0', stage: 'train' as const },
      };
    });
    const corpus = largeCorpus(2);
    const catalog = { ...corpus.catalog, shards: [...corpus.catalog.shards, ...small.map(({ entry }) => entry)] };
    const readCatalogFile: NewRun['readCatalogFile'] = (entry) =>
      small.find((each) => each.entry.file === entry.file)?.bytes ?? corpus.readFile(entry);

    /** Shards wait in `put` until they are let go; the later come first. */
    class SlowStore extends MemoryStore {
      readonly begun: string[] = [];
      most = 0;
      isFull: (root: string) => boolean = () => false;
      readonly #waiting: (() => void)[] = [];

      override async put(...[artifact, bytes, options]: Parameters<MemoryStore['put']>): Promise<void> {
        if (catalog.shards.some((shard) => shard.artifact.root === artifact.root)) {
          this.begun.push(artifact.root);
          const isLast = this.begun.length === catalog.shards.length;
          await new Promise<void>((resolve) => {
            this.#waiting.push(resolve);
            this.most = Math.max(this.most, this.#waiting.length);
            setImmediate(() => {
              if (this.#waiting.length === 4 || isLast) this.#waiting.pop()?.();
              else setImmediate(() => this.#waiting.pop()?.());
            });
          });
          if (this.isFull(artifact.root)) throw new StoreError('DISK_FULL', `${artifact.root}: no room`);
        }
        await super.put(artifact, bytes, options);
      }
    }
    const roots = catalog.shards.map(({ artifact }) => artifact.root);
    const newRun = (store: MemoryStore) => newTinyRun({ store, catalog, readCatalogFile });

    it('stores four of them at once, and is the same run as by one after another', async () => {
      const store = new SlowStore();
      const [run] = await initRun(newRun(store));
      expect(store.most).toBe(4);
      expect(store.begun).toEqual(roots);
      for (const { artifact } of catalog.shards) expect(await store.stat(artifact.root)).toBe(artifact.sizeBytes);
      expect(run).toEqual((await initRun(newRun(new MemoryStore())))[0]);
      const { data } = (run.body as EventBody<'run'>).manifest;
      expect([...decodePageIndex(await store.get(data.pages!), data.shards).keys()]).toEqual(
        corpus.catalog.shards.filter(({ source }) => source === 'large').map(({ artifact }) => artifact.root),
      );
    });

    it('ends with the failure of one, begins no other after it, and goes on from what is stored', async () => {
      const store = new SlowStore();
      store.isFull = (root) => root === roots[5];
      await expect(initRun(newRun(store))).rejects.toMatchObject({ code: 'DISK_FULL' });
      expect(store.begun.length).toBeLessThan(roots.length);
      expect(await store.stat(roots[5]!)).toBeNull();
      store.isFull = () => false;
      store.begun.splice(0);
      await initRun(newRun(store));
      for (const root of roots) expect(await store.stat(root)).not.toBeNull();
    });

    it('ends when it is told to stop', async () => {
      const [store, stop] = [new SlowStore(), new AbortController()];
      store.isFull = () => {
        if (store.begun.length > 5) stop.abort(new Error('stopped'));
        return false;
      };
      await expect(initRun(newRun(store), stop.signal)).rejects.toThrow('stopped');
      expect(store.begun.length).toBeLessThan(roots.length);
    });
  });

  it('gives the first two entries of a journal: the run, and who may act as its syncer', async () => {
    const messages = await initRun(newTinyRun());
    const journal = new MemoryJournal();
    await startJournal(journal, messages, 1_700_000_000_000);
    const state = emptyState();
    for (const raw of await journal.read(0, 10)) {
      const opened = openEntry(raw, state.headHash, bindingOf(state));
      if (!opened.ok) throw new Error(opened.sentence);
      applyEvent(state, opened);
    }
    expect(state.size).toBe(2);
    expect(state.run!.id).toBe(runIdOf(manifestOf(state)));
    expect([...state.delegations.values()]).toMatchObject([
      { role: 'syncer', hotkey: networkOwner.hotkey, sessionKey: networkSyncer.sessionKey },
    ]);
    expect(state.fragments.map(({ artifact }) => artifact)).toEqual(state.run!.start);
  });
});
