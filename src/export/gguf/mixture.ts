/**
 * @file What `--type` means for each tensor: the mixtures of types that llama.cpp's quantiser makes of these architectures
 * (v0.5.0; measured beside its own files, tests/vectors/gguf). The name of a mixture is its most common type.
 */
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { ExportError } from '../errors.ts';
import type { TensorPlan } from '../tensor-plan.ts';
import { type GgufTypeName, ggufTypes } from './tensor-types.ts';

export const ggufFileTypeNames = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_K_M', 'Q6_K', 'MXFP4'] as const;
export type GgufFileTypeName = (typeof ggufFileTypeNames)[number];

interface FileType {
  /** llama_ftype. */
  readonly id: number;
  readonly typeOf: (tensor: TensorPlan, config: QuasarLongConfig) => GgufTypeName;
}

export const ggufFileTypes: { readonly [N in GgufFileTypeName]: FileType } = {
  F32: { id: 0, typeOf: () => 'F32' },
  F16: { id: 1, typeOf: () => 'F16' },
  BF16: { id: 32, typeOf: () => 'BF16' },
  Q8_0: { id: 7, typeOf: () => 'Q8_0' },
  Q4_0: { id: 2, typeOf: ({ name }, c) => outputType(name) ?? eightExperts(name, c) ?? 'Q4_0' },
  Q6_K: { id: 18, typeOf: ({ name }, c) => outputType(name) ?? eightExperts(name, c) ?? 'Q6_K' },
  Q4_K_M: {
    id: 15,
    typeOf: ({ name }, c) => outputType(name) ?? eightExperts(name, c) ?? (isAmple(name, c) ? 'Q6_K' : 'Q4_K'),
  },
  // The experts, stacked, alone.
  MXFP4: { id: 38, typeOf: ({ shape }) => (shape.length === 3 ? 'MXFP4' : 'Q8_0') },
};

const outputType = (name: string): GgufTypeName | null => (/^(output|lm_head)\.weight$/.test(name) ? 'Q6_K' : null);

/** Models of eight experts are taken for Mixtral there, whose small attention is worth more bits. */
function eightExperts(name: string, config: QuasarLongConfig): GgufTypeName | null {
  return config.num_experts === 8 && name.includes('attn_qkv') ? 'Q8_0' : null;
}

/** In the first and last eighth of the layers, and each third between, these matrices get more bits. */
function isAmple(name: string, { num_hidden_layers: layers }: QuasarLongConfig): boolean {
  const [, layer, part] = /^blk\.(\d+)\.(attn_qkv|ffn_down)/.exec(name) ?? [];
  if (part === undefined) return false;
  const eighth = Math.floor(layers / 8);
  const i = Number(layer);
  return i < eighth || i >= Math.floor((7 * layers) / 8) || (i - eighth) % 3 === 2;
}

/**
 * `takesWiderTypes`: Q8_0 or F32 where rows are no whole blocks.
 * @throws ExportError UNREPRESENTABLE in that case otherwise
 */
export function typeOfTensor(
  tensor: TensorPlan,
  fileType: GgufFileTypeName,
  config: QuasarLongConfig,
  takesWiderTypes = false,
): GgufTypeName {
  if (tensor.isExact) return 'F32';
  const type = ggufFileTypes[fileType].typeOf(tensor, config);
  const row = tensor.shape.at(-1)!;
  if (row % ggufTypes[type].blockElements === 0) return type;
  // As llama.cpp does; for the other K-quants it would take types that are not written here.
  if ((type === 'Q6_K' || takesWiderTypes) && row % ggufTypes.Q8_0.blockElements === 0) return 'Q8_0';
  if (takesWiderTypes) return 'F32';
  throw new ExportError(
    'UNREPRESENTABLE',
    `${tensor.name}: rows of ${row} numbers are no multiple of ${ggufTypes[type].blockElements}, the block of ${type}; choose another type`,
  );
}
