/** @file What every role derives from a manifest alone: config, contract, fragment plan; checked against its hashes. */
import { runOf } from '../journal/queries.ts';
import type { RunState } from '../journal/state.ts';
import { type FragmentPlan, planFragments } from '../merge/fragment-plan.ts';
import { parseConfig, type QuasarLongConfig } from '../model/quasar-long/config.ts';
import type { TensorSpec } from '../model/quasar-long/contract.ts';
import { hashOfJson, hashOfText } from '../protocol/hash.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import type { Store } from '../store/port.ts';
import type { TensorContractEntry } from '../tensor/contract.ts';
import { maxFrozenFileBytes } from '../training/frozen-tensors.ts';
import { contractOf } from '../training/recipe.ts';
import { assert } from '../util/errors.ts';
import { RoleError } from './errors.ts';

export interface RunModel {
  readonly config: QuasarLongConfig;
  /** Of what training changes: frozen tensors are of kind `frozen`. */
  readonly contract: readonly TensorSpec[];
  readonly plan: FragmentPlan;
}

/**
 * Frozen tensors of the run's start checkpoint, for `FrozenTensors.load`; null where the recipe freezes none.
 * @throws RoleError WRONG_RUN if they are larger than the contract needs; StoreError
 */
export async function fetchFrozen(
  run: RunState,
  store: Pick<Store, 'get'>,
  signal?: AbortSignal,
): Promise<Uint8Array | null> {
  const { manifest, frozen } = runOf(run);
  assert(
    (frozen === undefined) === (manifest.recipe.frozen === undefined),
    'the fold let a run without its frozen tensors in',
  );
  if (frozen === undefined) return null;
  const limit = maxFrozenFileBytes(runModelOf(manifest).contract);
  if (frozen.sizeBytes > limit)
    throw new RoleError('WRONG_RUN', `frozen: ${frozen.sizeBytes} bytes; the recipe's tensors need at most ${limit}`);
  return store.get(frozen, signal === undefined ? {} : { signal });
}

/** 32 bytes of hex from what an operator types; `accrete train` and a network of one seed start and read alike. */
export const runSeedOf = (seed: string | number): Hash => hashOfText(`accrete run seed ${seed}`);

/** What a contract's hash is of. */
export const contractHashOf = (contract: readonly TensorContractEntry[]): Hash =>
  hashOfJson(contract.map(({ name, shape, dtype, kind }) => ({ name, shape: [...shape], dtype, kind })));

/** Of manifests that are in use: each has thousands of tensors to list and hash. */
const models = new WeakMap<RunManifest, RunModel>();

/** @throws RoleError WRONG_RUN if this program builds another contract from the config than the owner's did; ModelError BAD_FROZEN */
export function runModelOf(manifest: RunManifest): RunModel {
  const known = models.get(manifest);
  if (known !== undefined) return known;
  const model = buildRunModel(manifest);
  models.set(manifest, model);
  return model;
}

function buildRunModel(manifest: RunManifest): RunModel {
  const config = parseConfig(JSON.parse(manifest.model.config));
  const contract = contractOf(config, manifest.recipe);
  const hash = contractHashOf(contract);
  if (hash !== manifest.model.contractHash)
    throw new RoleError(
      'WRONG_RUN',
      `the manifest's parameter contract is ${manifest.model.contractHash}, this program builds ${hash}: another version of Accrete made the run`,
    );
  return { config, contract, plan: planFragments(contract, manifest.fragments.count) };
}
