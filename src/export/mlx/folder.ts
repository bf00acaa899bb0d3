/**
 * @file The files of `accrete export --to mlx`: for models without hybrid layers in mlx-lm's layout of `bailing_moe`; for
 * hybrid ones under their own names with a `model_file`, a Python file of the project that mlx-lm loads beside the weights.
 * Matrices may be quantised in MLX's affine form.
 */
import { type QuasarLongConfig, toConfigJson } from '../../model/quasar-long/config.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { ExportError } from '../errors.ts';
import { renderExportCard } from '../export-card.ts';
import { bailingMoe2 } from '../gguf/bailing-moe2.ts';
import { sharedFiles } from '../hf-folder.ts';
import { backboneSpecs, isExactName, lingConfig } from '../ling.ts';
import type { ModelView } from '../model-view.ts';
import { affineLines, quantiseAffine } from '../quantise/affine.ts';
import {
  type FloatDtype,
  floatBytes,
  jsonFile,
  type StoredTensor,
  safetensorsFiles,
  storedAs,
  textFile,
} from '../safetensors-files.ts';
import type { ExportFile } from '../staged.ts';
import { copied, type ReadTensor, type TensorPlan, transposed } from '../tensor-plan.ts';

export interface MlxOptions {
  /** Of what is not quantised, and of scales and biases. */
  readonly dtype: FloatDtype;
  /** Null: nothing is quantised. */
  readonly quantisation: { readonly bits: 4 | 8; readonly group: 32 | 64 | 128 } | null;
  readonly maxShardBytes: number;
  readonly contextLength: number;
  /** Text of the Python file for hybrid models. */
  readonly modelFile: string;
}

const modelFileName = 'quasar_long.py';
const torchDtypes = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' } as const;

/** @throws ExportError UNREPRESENTABLE naming the config's field */
export function mlxFolder(view: ModelView, options: MlxOptions): readonly ExportFile[] {
  const { config } = view;
  const isHybrid = config.hybrid_attention_layers.length > 0;
  if (isHybrid) checkHybrid(config);
  else bailingMoe2.check(config, options.contextLength);
  const plans = mlxTensors(config);
  const quantised = plans.filter((plan) => isQuantised(plan, options));
  if (options.quantisation !== null && quantised.length === 0)
    throw new ExportError('UNREPRESENTABLE', `no row is a multiple of the group of ${options.quantisation.group}`);
  const tensors = plans.flatMap((plan) => stored(plan, options, view.read));
  const card = renderExportCard(view, {
    tags: ['mlx', isHybrid ? 'quasar_long' : 'bailing_moe'],
    what: isHybrid
      ? `For mlx-lm, with all branches: \`${modelFileName}\` beside the weights implements the architecture.`
      : `For mlx-lm, as bailing_moe: exact up to ${options.contextLength} tokens of context.`,
    run: [
      {
        title: 'mlx-lm',
        command: `mlx_lm.generate --model .${isHybrid ? ' --trust-remote-code' : ''} --prompt 'The people of'`,
      },
    ],
    notes: isHybrid ? [hybridNote] : [],
  });
  return [
    jsonFile('config.json', mlxConfig(config, isHybrid, options)),
    ...(isHybrid ? [textFile(modelFileName, options.modelFile)] : []),
    ...sharedFiles(view, card),
    ...safetensorsFiles(tensors, { ...options, format: 'mlx', totalParameters: countParameters(config).total }),
  ];
}

const hybridNote =
  "The Python file was written from the architecture's specification and compared with vectors of an independent implementation on a stand-in for MLX's arrays (1e-5); the project has not run it on MLX itself.";

/** What the Python file implements. */
const hybridRules: readonly (readonly [keyof QuasarLongConfig, (c: QuasarLongConfig) => boolean])[] = [
  ['hybrid_branch_layout', (c) => c.hybrid_branch_layout === 'layerwise'],
  ['hybrid_replacement_mode', (c) => !['full', 'replace', 'linear'].includes(c.hybrid_replacement_mode)],
  ['hybrid_quasar_mode', (c) => c.hybrid_quasar_mode === 'chunk'],
  ['hybrid_quasar_use_rope', (c) => !c.hybrid_quasar_use_rope],
  ['hybrid_use_short_conv', (c) => !c.hybrid_use_short_conv],
  ['hybrid_local_window_size', (c) => c.hybrid_local_window_size === 0],
  ['hybrid_alpha_zero_bypass', (c) => !c.hybrid_alpha_zero_bypass],
  ['hybrid_gla_layers', (c) => c.hybrid_gla_layers.length === 0],
  ['engram_layers', (c) => c.engram_layers.length === 0],
  ['num_loops', (c) => c.num_loops === 1 && !c.use_looped_injection && !c.use_parcae_loop_stabilizer],
  ['use_qkv_bias', (c) => !c.use_qkv_bias && !c.use_bias],
  ['use_qk_norm', (c) => c.use_qk_norm],
];

function checkHybrid(config: QuasarLongConfig): void {
  for (const [field, holds] of hybridRules)
    if (!holds(config))
      throw new ExportError(
        'UNREPRESENTABLE',
        `${field}: ${JSON.stringify(config[field])} is not in ${modelFileName}`,
        {
          context: { field },
        },
      );
}

function mlxConfig(config: QuasarLongConfig, isHybrid: boolean, options: MlxOptions): object {
  const { quantisation, contextLength, dtype } = options;
  const own = isHybrid
    ? { ...toConfigJson(config), torch_dtype: torchDtypes[dtype], model_file: modelFileName }
    : lingConfig(config, contextLength, torchDtypes[dtype]);
  if (quantisation === null) return own;
  const field = { group_size: quantisation.group, bits: quantisation.bits, mode: 'affine' };
  return { ...own, quantization: field, quantization_config: field };
}

/** mlx-lm's names: the router is a linear layer in the gate, experts are stacked output-major. */
export function mlxTensors(config: QuasarLongConfig): readonly TensorPlan[] {
  const { num_experts: E, hidden_size: h, moe_intermediate_size: I } = config;
  return backboneSpecs(config).flatMap(({ name, shape, isRouted }): readonly TensorPlan[] => {
    const to = (part: string): string => name.replace(/experts_w\d+$/, `switch_mlp.${part}_proj.weight`);
    if (isRouted && name.endsWith('w3')) return [transposed(to('down'), [E, h, I], { name, columns: h, first: 0 })];
    if (isRouted)
      return [
        transposed(to('gate'), [E, I, h], { name, columns: 2 * I, first: 0 }),
        transposed(to('up'), [E, I, h], { name, columns: 2 * I, first: I }),
      ];
    const plan = copied(name.replace('.mlp.gate.weight', '.mlp.gate.gate_proj.weight'), shape, name);
    return [{ ...plan, isExact: isExactName(name, shape) || smallNames.test(name) }];
  });
}

/** Of branches: small, and they steer much. */
const smallNames = /\.([ab]_proj|branch_output_adapter_(up|down)|g_proj\.[01])\.weight$/;

const isQuantised = ({ isExact, name, shape }: TensorPlan, { quantisation }: MlxOptions): boolean =>
  quantisation !== null && !isExact && name.endsWith('.weight') && shape.at(-1)! % quantisation.group === 0;

function stored(plan: TensorPlan, options: MlxOptions, read: ReadTensor): readonly StoredTensor[] {
  const { dtype, quantisation } = options;
  if (quantisation === null || !isQuantised(plan, options)) return [storedAs(plan, plan.isExact ? 'F32' : dtype, read)];
  const { bits, group } = quantisation;
  const [path, rows, row] = [plan.name.replace(/\.weight$/, ''), plan.shape.slice(0, -1), plan.shape.at(-1)!];
  // Each of the three is made by itself, from the values once more: no second tensor is kept for it.
  const pieces = async function* (choose: (part: Float32Array) => Uint8Array): AsyncGenerator<Uint8Array> {
    for await (const part of plan.parts(read)) yield choose(part);
  };
  const line = (of: 'scales' | 'biases') => (part: Float32Array) =>
    floatBytes(plan.name, affineLines(part, { bits, group })[of], dtype);
  const perGroup = [...rows, row / group];
  return [
    {
      ...{ name: plan.name, shape: [...rows, (row * bits) / 32], dtype: 'U32' as const },
      bytes: () => pieces((part) => new Uint8Array(quantiseAffine(part, { bits, group }).words.buffer)),
    },
    { ...{ name: `${path}.scales`, shape: perGroup, dtype }, bytes: () => pieces(line('scales')) },
    { ...{ name: `${path}.biases`, shape: perGroup, dtype }, bytes: () => pieces(line('biases')) },
  ];
}
