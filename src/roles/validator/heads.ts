/** @file A model whose fragments are set to the published versions that a check asks for; refetches only what differs. */
import { decodeFragment } from '../../merge/codecs/fragment-file.ts';
import { unpackFragment } from '../../merge/fragment-values.ts';
import { floatsOf, type Params } from '../../model/quasar-long/init.ts';
import type { ArtifactRef, RunManifest } from '../../protocol/manifest.ts';
import type { Store } from '../../store/port.ts';
import { allocateModel, type ModelState, wholeParams } from '../../training/model-state.ts';
import type { RunModel } from '../run-model.ts';

export class HeadParams {
  readonly #runModel: RunModel;
  readonly #model: ModelState;
  readonly #store: Store;
  readonly #loaded: string[];

  /** `frozen`: of the start checkpoint; null where the recipe freezes none. @throws TrainingError BAD_CHECKPOINT */
  constructor(
    runModel: RunModel,
    { seed, recipe }: Pick<RunManifest, 'seed' | 'recipe'>,
    store: Store,
    frozen: Uint8Array | null,
  ) {
    this.#runModel = runModel;
    this.#model = allocateModel(runModel.config, seed, { extraParamBuffers: 0, frozen: recipe.frozen });
    if (frozen !== null) this.#model.frozen.load(frozen);
    this.#store = store;
    this.#loaded = runModel.plan.fragments.map(() => '');
  }

  /** The parameters with each fragment at the given artifact; valid until the next call. */
  async at(artifacts: readonly ArtifactRef[], signal: AbortSignal): Promise<Params> {
    for (const [id, artifact] of artifacts.entries()) {
      if (this.#loaded[id] === artifact.root) continue;
      const fragment = this.#runModel.plan.fragments[id]!;
      const values = decodeFragment('f32', fragment, await this.#store.get(artifact, { signal }));
      this.#loaded[id] = '';
      unpackFragment(fragment, values, (name) => floatsOf(this.#model.tensors, name));
      this.#loaded[id] = artifact.root;
    }
    return wholeParams(this.#model);
  }
}
