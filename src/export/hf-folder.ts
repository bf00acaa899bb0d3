/**
 * @file The files of `accrete export --to hf`: the exact `quasar_long` folder, or, for models without hybrid layers, the
 * same network as BailingMoeV2, which programs that do not know quasar_long load.
 */
import { toConfigJson } from '../model/quasar-long/config.ts';
import { buildContract, countParameters } from '../model/quasar-long/contract.ts';
import { generationConfig, storedDtype } from './checkpoint-files.ts';
import { renderExportCard } from './export-card.ts';
import { bailingMoe2 } from './gguf/bailing-moe2.ts';
import { lingConfig, lingTensors } from './ling.ts';
import { type ModelView, tokenizerTexts } from './model-view.ts';
import { floatBytes, jsonFile, type StoredTensor, safetensorsFiles, storedAs, textFile } from './safetensors-files.ts';
import type { ExportFile } from './staged.ts';

export interface HfFolderOptions {
  /** Of parameters; buffers stay float32. */
  readonly dtype: 'F32' | 'BF16';
  readonly maxShardBytes: number;
}

const torchDtypes = { F32: 'float32', BF16: 'bfloat16' } as const;

export function quasarLongFolder(view: ModelView, options: HfFolderOptions): readonly ExportFile[] {
  const { config } = view;
  const tensors = buildContract(config).map((spec): StoredTensor => {
    const { name, shape } = spec;
    const dtype = storedDtype(spec, options);
    return {
      ...{ name, shape, dtype },
      async *bytes() {
        const values = await view.read(name);
        if (values instanceof Float32Array) yield floatBytes(name, values, dtype === 'I64' ? 'F32' : dtype);
        else yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      },
    };
  });
  const card = renderExportCard(view, {
    tags: ['quasar_long'],
    what: 'A checkpoint of the `quasar_long` architecture in Hugging Face layout, as it was trained.',
    run: [{ title: 'Accrete', command: "accrete generate --checkpoint . --prompt 'The people of'" }],
    notes:
      config.hybrid_attention_layers.length === 0
        ? ['It has no hybrid layers: `accrete export` writes it for llama.cpp, Ollama, mlx-lm and vLLM too.']
        : [
            'The linear-attention branches are part of the architecture; programs that know only its softmax backbone give other results.',
          ],
  });
  return [
    jsonFile('config.json', { ...toConfigJson(config), torch_dtype: torchDtypes[options.dtype] }),
    ...sharedFiles(view, card),
    ...safetensorsFiles(tensors, { ...options, format: 'pt', totalParameters: countParameters(config).total }),
  ];
}

/** @throws ExportError UNREPRESENTABLE naming the config's field */
export function lingFolder(
  view: ModelView,
  options: HfFolderOptions & { contextLength: number },
): readonly ExportFile[] {
  const { config } = view;
  bailingMoe2.check(config, options.contextLength);
  const tensors = lingTensors(config).map((plan) => storedAs(plan, plan.isExact ? 'F32' : options.dtype, view.read));
  const card = renderExportCard(view, {
    tags: ['bailing_moe'],
    what: `The same network under the name BailingMoeV2 (Ling 2): exact up to ${options.contextLength} tokens of context.`,
    run: [
      { title: 'vLLM', command: 'vllm serve . --trust-remote-code' },
      { title: 'SGLang', command: 'python -m sglang.launch_server --model-path . --trust-remote-code' },
    ],
    notes: [],
  });
  return [
    jsonFile('config.json', lingConfig(config, options.contextLength, torchDtypes[options.dtype])),
    ...sharedFiles(view, card),
    ...safetensorsFiles(tensors, { ...options, format: 'pt', totalParameters: countParameters(config).total }),
  ];
}

export function sharedFiles(view: ModelView, card: string): readonly ExportFile[] {
  return [
    jsonFile('generation_config.json', generationConfig(view.config)),
    textFile('README.md', card),
    ...[...tokenizerTexts(view.tokenizer)].map(([name, text]) => textFile(name, text)),
  ];
}
