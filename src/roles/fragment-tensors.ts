/**
 * @file The tensors of a checkpoint out of its fragments' states, in parts: of each state a few pieces are in memory, and of a
 * tensor a part. Nothing is believed before `settle`: whoever writes something from it keeps it only then.
 */
import { FragmentReader } from '../merge/codecs/fragment-reader.ts';
import type { TensorSlice } from '../merge/fragment-plan.ts';
import { sharedStaging } from '../merge/staging.ts';
import type { TensorSpec } from '../model/quasar-long/contract.ts';
import { initTensor, type TensorValues } from '../model/quasar-long/init.ts';
import type { ArtifactRef } from '../protocol/manifest.ts';
import type { Store } from '../store/port.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import { ArtifactReader, type ReadPart } from './artifact-reader.ts';
import type { RunModel } from './run-model.ts';

/** Numbers of a part. */
const partElements = 2 ** 20;
/** States whose pieces stay in memory. */
const heldStates = 2;

interface Place {
  readonly fragment: number;
  readonly slice: TensorSlice;
  readonly isBias: boolean;
}

export interface FragmentTensorsOptions {
  readonly model: RunModel;
  /** States of all fragments. */
  readonly heads: readonly ArtifactRef[];
  /** Of the run: what no fragment holds is as it was initialised. */
  readonly seed: string;
  readonly read: ReadPart;
}

export class FragmentTensors {
  readonly #options: FragmentTensorsOptions;
  readonly #places: ReadonlyMap<string, readonly Place[]>;
  readonly #files = new Map<number, ArtifactReader>();
  readonly #readers = new Map<number, FragmentReader>();
  #recent: readonly number[] = [];

  constructor(options: FragmentTensorsOptions) {
    this.#options = options;
    this.#places = placesOf(options.model);
  }

  /** Consecutive parts of a tensor. @throws StoreError, CodecError */
  readonly parts = (spec: TensorSpec): AsyncIterable<TensorValues> => this.#parts(spec);

  /** Every byte of every state that was read from is now known to be the state's. @throws StoreError HASH_MISMATCH */
  async settle(): Promise<void> {
    for (const file of this.#files.values()) await file.settle();
  }

  async *#parts(spec: TensorSpec): AsyncGenerator<TensorValues> {
    const { model, seed } = this.#options;
    const places = this.#places.get(spec.name);
    if (places === undefined) {
      yield initTensor(model.config, spec, seed);
      return;
    }
    for (const { fragment, slice, isBias } of places) {
      const reader = await this.#readerOf(fragment);
      if (isBias) {
        const biases = await reader.selectionBias(model.plan.fragments[fragment]!.selectionBiasCount);
        yield biases.subarray(slice.offset, slice.offset + slice.length);
        continue;
      }
      for (let at = 0; at < slice.length; at += partElements) {
        const part = new Float32Array(Math.min(partElements, slice.length - at));
        await reader.read(slice.offset + at, part);
        yield part;
      }
    }
  }

  async #readerOf(id: number): Promise<FragmentReader> {
    this.#recent = [id, ...this.#recent.filter((other) => other !== id)];
    for (const old of this.#recent.slice(heldStates)) this.#files.get(old)!.forget();
    this.#recent = this.#recent.slice(0, heldStates);
    const known = this.#readers.get(id);
    if (known !== undefined) return known;
    const { model, heads, read } = this.#options;
    const file = new ArtifactReader(heads[id]!, read, nodeSha256);
    this.#files.set(id, file);
    const reader = await FragmentReader.open('f32', model.plan.fragments[id]!, file, sharedStaging());
    this.#readers.set(id, reader);
    return reader;
  }
}

/** Of each tensor, in its order. */
function placesOf({ plan }: RunModel): ReadonlyMap<string, readonly Place[]> {
  const places = new Map<string, Place[]>();
  const add = (place: Place): void => {
    const list = places.get(place.slice.name) ?? [];
    places.set(
      place.slice.name,
      [...list, place].sort((a, b) => a.slice.tensorOffset - b.slice.tensorOffset),
    );
  };
  for (const { id, slices, selectionBiases } of plan.fragments) {
    for (const slice of slices) add({ fragment: id, slice, isBias: false });
    for (const slice of selectionBiases) add({ fragment: id, slice, isBias: true });
  }
  return places;
}

/** Parts of a store's artifacts; of a store that gives only whole ones, of the one that was read last. */
export function partsOf(store: Pick<Store, 'get' | 'parts'>): ReadPart {
  if (store.parts !== undefined) return store.parts.read;
  let last: { readonly root: string; readonly bytes: Uint8Array } | null = null;
  return async (artifact, { from, to }) => {
    if (last?.root !== artifact.root) last = { root: artifact.root, bytes: await store.get(artifact) };
    return last.bytes.slice(from, to);
  };
}
