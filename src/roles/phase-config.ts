/** @file The model's config as a phase has it: the same parameters, other positions. */
import type { QuasarLongConfig } from '../model/quasar-long/config.ts';
import type { Phase } from '../protocol/manifest.ts';

/** The very config where the phase changes nothing of it. */
export function configOfPhase(config: QuasarLongConfig, { context }: Pick<Phase, 'context'>): QuasarLongConfig {
  const useNope = context?.useNope ?? config.use_nope;
  const nopeAfterPosition = context?.nopeAfterPosition ?? config.nope_after_position;
  if (useNope === config.use_nope && nopeAfterPosition === config.nope_after_position) return config;
  return { ...config, use_nope: useNope, nope_after_position: nopeAfterPosition };
}
