/**
 * @file The whole model as a GGUF file for Accrete's own runtime: tensors under their names in checkpoints, the config as a
 * text. llama.cpp and what is built on it refuse the architecture, as they should: they do not know its branches.
 */
import { type QuasarLongConfig, toConfigJson } from '../../model/quasar-long/config.ts';
import { buildContract } from '../../model/quasar-long/contract.ts';
import { ExportError } from '../errors.ts';
import { copied } from '../tensor-plan.ts';
import type { GgufArchitecture } from './architecture.ts';

export const configKey = 'quasar_long.config';

/** Gates, decays, routers and adapters are small and steer much. */
const exactNames = /(\.mlp\.gate\.weight|_conv1d\.weight|\.[ab]_proj\.weight|branch_output_adapter_(up|down)\.weight)$/;

export const quasarLong: GgufArchitecture = {
  name: 'quasar_long',
  takesWiderTypes: true,
  check(config) {
    if (config.engram_layers.length > 0)
      throw new ExportError('UNREPRESENTABLE', 'engram_layers: tables of integers have no place in these files', {
        context: { field: 'engram_layers' },
      });
  },
  metadata: (config: QuasarLongConfig, contextLength: number) =>
    new Map([
      ['context_length', { u32: contextLength }],
      ['block_count', { u32: config.num_hidden_layers }],
      ['embedding_length', { u32: config.hidden_size }],
      ['config', { string: JSON.stringify(toConfigJson(config)) }],
    ]),
  tensors: (config) =>
    buildContract(config).map(({ name, shape, isBuffer }) => {
      const plan = copied(name, shape, name);
      return { ...plan, isExact: plan.isExact || isBuffer || exactNames.test(name) };
    }),
};
