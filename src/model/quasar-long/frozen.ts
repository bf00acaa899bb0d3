/**
 * @file Which tensors a run freezes: name patterns of its recipe against the contract. A frozen tensor is of kind `frozen`,
 * so that no gradient, moment, pseudo-gradient or fragment of it exists; what the pattern means is decided here alone.
 */
import { ModelError } from '../errors.ts';
import type { TensorSpec } from './contract.ts';

/**
 * The contract with what `patterns` name as kind `frozen`: parameters (also those that have no gradient anyway, so that
 * they come from the start checkpoint) and selection biases; other buffers follow from the config and are never named.
 * A frozen router takes its selection bias along: without its router's gradients, nothing is left to balance.
 * No patterns: the same contract.
 * @throws ModelError BAD_FROZEN for a pattern that names nothing, or where nothing is left to train
 */
export function freezeContract(
  contract: readonly TensorSpec[],
  patterns: readonly string[] = [],
): readonly TensorSpec[] {
  if (patterns.length === 0) return contract;
  const frozen = new Set<string>();
  for (const pattern of patterns) {
    const named = contract.filter((spec) => canFreeze(spec) && matchesPattern(spec.name, pattern));
    if (named.length === 0)
      throw new ModelError('BAD_FROZEN', `frozen tensors: ${pattern} names no parameter of this model`);
    for (const { name } of named) frozen.add(name);
  }
  const isFrozen = ({ name, kind }: TensorSpec): boolean =>
    frozen.has(name) || (kind === 'selection-bias' && frozen.has(name.replace(/[^.]*$/, 'weight')));
  const changed = contract.map((spec) => (isFrozen(spec) ? Object.freeze({ ...spec, kind: 'frozen' as const }) : spec));
  if (!changed.some(({ kind }) => kind === 'param'))
    throw new ModelError('BAD_FROZEN', `frozen tensors: ${patterns.join(', ')} leave nothing to train`);
  return changed;
}

/** Names of the contract that are frozen. */
export const frozenNames = (contract: readonly TensorSpec[]): ReadonlySet<string> =>
  new Set(contract.flatMap(({ name, kind }) => (kind === 'frozen' ? [name] : [])));

const canFreeze = ({ kind, isBuffer }: TensorSpec): boolean => kind === 'selection-bias' || !isBuffer;

/** Each `*` stands for any text or none; all else for itself. Takes time linear in the name for each `*`. */
export function matchesPattern(name: string, pattern: string): boolean {
  const [first, ...rest] = pattern.split('*') as [string, ...string[]];
  const last = rest.pop();
  if (last === undefined) return name === pattern;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
