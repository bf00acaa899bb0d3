/**
 * @file Writes a model as one GGUF file for llama.cpp and what is built on it, with what lies beside it (Ollama's Modelfile,
 * a card). Tensors stream through memory one after the other; the files appear whole or not at all (`staged.ts`).
 */
import { basename, resolve } from 'node:path';
import type { QuasarLongConfig } from '../../model/quasar-long/config.ts';
import { countParameters } from '../../model/quasar-long/contract.ts';
import { ExportError } from '../errors.ts';
import { type ExportFile, type ExportPart, type StagedExport, sizeOf, wholeFile, writeStaged } from '../staged.ts';
import type { ReadTensor, TensorPlan } from '../tensor-plan.ts';
import type { GgufArchitecture } from './architecture.ts';
import { bailingMoe2 } from './bailing-moe2.ts';
import { encodeGgufHeader, type GgufTensorInfo, type GgufValue, padded, tensorBytes } from './container.ts';
import { type GgufFileTypeName, ggufFileTypes, typeOfTensor } from './mixture.ts';
import { ggufTypes } from './tensor-types.ts';
import { type TokenizerFiles, tokenizerMetadata } from './tokenizer.ts';

export interface GgufExport extends Partial<Pick<StagedExport, 'signal' | 'onProgress' | 'source' | 'syncEveryBytes'>> {
  readonly config: QuasarLongConfig;
  /** Asked for each tensor in the file's order; of consecutive tensors some share a source. */
  readonly read: ReadTensor;
  readonly tokenizer: TokenizerFiles;
  /** Of the matrices; norms, biases and routers stay F32. */
  readonly type: GgufFileTypeName;
  /** What programs show as the model's name. */
  readonly name: string;
  /** SPDX id. */
  readonly licence?: string;
  /** Tokens of context that the file promises; max_position_embeddings by default. */
  readonly contextLength?: number;
  /** Default `bailingmoe2`. */
  readonly architecture?: GgufArchitecture;
  /** More metadata, under its full keys. */
  readonly extra?: ReadonlyMap<string, GgufValue>;
  /** Texts that lie beside the file, by name. */
  readonly beside?: ReadonlyMap<string, string>;
}

export interface GgufSummary {
  readonly architecture: string;
  readonly tensorCount: number;
  readonly sizeBytes: number;
}

/**
 * Writes `file`, which must not exist; its folder must.
 * @throws ExportError, UNREPRESENTABLE or BAD_TOKENIZER before anything is written
 */
export async function writeGguf(file: string, options: GgufExport): Promise<GgufSummary> {
  const target = resolve(file);
  const { config, architecture = bailingMoe2, contextLength = config.max_position_embeddings } = options;
  architecture.check(config, contextLength);
  const plans = architecture.tensors(config);
  const infos = plans.map((plan): GgufTensorInfo => {
    return { ...plan, type: typeOfTensor(plan, options.type, config, architecture.takesWiderTypes) };
  });
  const header = encodeGgufHeader(metadataOf(options, architecture, contextLength), infos);
  const parts = [
    wholeFile('header', header.bytes).parts[0]!,
    ...plans.map((plan, i) => tensorPart(plan, infos[i]!, options.read)),
  ];
  const main: ExportFile = { name: basename(target), parts };
  const encoder = new TextEncoder();
  const beside = [...(options.beside ?? [])].map(([name, text]) => wholeFile(name, encoder.encode(text)));
  const { signal, onProgress, syncEveryBytes, source = '' } = options;
  await writeStaged({
    ...{ target, kind: 'file', source, files: [...beside, main] },
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(syncEveryBytes === undefined ? {} : { syncEveryBytes }),
  });
  return { architecture: architecture.name, tensorCount: plans.length, sizeBytes: sizeOf([main]) };
}

function tensorPart(plan: TensorPlan, info: GgufTensorInfo, read: ReadTensor): ExportPart {
  const wanted = tensorBytes(info);
  return {
    name: info.name,
    sizeBytes: padded(wanted),
    async *bytes() {
      for await (const part of plan.parts(read)) yield encode(info, part);
      if (padded(wanted) > wanted) yield new Uint8Array(padded(wanted) - wanted);
    },
  };
}

function encode({ name, type }: GgufTensorInfo, values: Float32Array): Uint8Array {
  try {
    return ggufTypes[type].encode(values);
  } catch (cause) {
    if (!(cause instanceof ExportError)) throw cause;
    throw new ExportError(cause.code, `${name}: ${cause.message}`, { cause });
  }
}

/** Of the layout of quantised blocks; ggml counts it. */
const quantisationVersion = 2;

function metadataOf(
  { config, tokenizer, type, name, licence, extra }: GgufExport,
  architecture: GgufArchitecture,
  contextLength: number,
): ReadonlyMap<string, GgufValue> {
  const own = [...architecture.metadata(config, contextLength)];
  const isQuantised = !['F32', 'F16', 'BF16'].includes(type);
  return new Map<string, GgufValue>([
    ['general.architecture', { string: architecture.name }],
    ['general.type', { string: 'model' }],
    ['general.name', { string: name }],
    ['general.size_label', { string: sizeLabel(countParameters(config).total) }],
    ...(licence === undefined ? [] : ([['general.license', { string: licence }]] as const)),
    ['general.file_type', { u32: ggufFileTypes[type].id }],
    ...(isQuantised ? ([['general.quantization_version', { u32: quantisationVersion }]] as const) : []),
    ...own.map(([key, value]) => [`${architecture.name}.${key}`, value] as const),
    ...(extra ?? []),
    ...tokenizerMetadata(tokenizer, config.vocab_size),
  ]);
}

/** As hubs show sizes: 17.8M, 16.3B. */
function sizeLabel(count: number): string {
  const [unit, letter] = count >= 1e9 ? [1e9, 'B'] : count >= 1e6 ? [1e6, 'M'] : [1e3, 'K'];
  return `${(count / Number(unit)).toFixed(1)}${letter}`;
}
