/** @file What every role derives from a manifest alone: config, contract, fragment plan; checked against its hashes. */
import { type FragmentPlan, planFragments } from '../merge/fragment-plan.ts';
import { parseConfig, type QuasarLongConfig } from '../model/quasar-long/config.ts';
import { buildContract, type TensorSpec } from '../model/quasar-long/contract.ts';
import { hashOfJson, hashOfText } from '../protocol/hash.ts';
import type { RunManifest } from '../protocol/manifest.ts';
import type { Hash } from '../protocol/names.ts';
import type { TensorContractEntry } from '../tensor/contract.ts';
import { RoleError } from './errors.ts';

export interface RunModel {
  readonly config: QuasarLongConfig;
  readonly contract: readonly TensorSpec[];
  readonly plan: FragmentPlan;
}

/** 32 bytes of hex from what an operator types; `accrete train` and a network of one seed start and read alike. */
export const runSeedOf = (seed: string | number): Hash => hashOfText(`accrete run seed ${seed}`);

/** What a contract's hash is of. */
export const contractHashOf = (contract: readonly TensorContractEntry[]): Hash =>
  hashOfJson(contract.map(({ name, shape, dtype, kind }) => ({ name, shape: [...shape], dtype, kind })));

/** @throws RoleError WRONG_RUN if this program builds another contract from the config than the owner's did */
export function runModelOf(manifest: RunManifest): RunModel {
  const config = parseConfig(JSON.parse(manifest.model.config));
  const contract = buildContract(config);
  const hash = contractHashOf(contract);
  if (hash !== manifest.model.contractHash)
    throw new RoleError(
      'WRONG_RUN',
      `the manifest's parameter contract is ${manifest.model.contractHash}, this program builds ${hash}: another version of Accrete made the run`,
    );
  return { config, contract, plan: planFragments(contract, manifest.fragments.count) };
}
