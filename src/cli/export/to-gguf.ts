/** @file `accrete export --to gguf`. */
import { basename } from 'node:path';
import { type BackboneGap, backboneConfig } from '../../export/backbone.ts';
import { renderExportCard } from '../../export/export-card.ts';
import { hasChatMarks } from '../../export/gguf/chat-marks.ts';
import type { GgufValue } from '../../export/gguf/container.ts';
import { ggufFileTypeNames } from '../../export/gguf/mixture.ts';
import { renderModelfile } from '../../export/gguf/modelfile.ts';
import { quasarLong } from '../../export/gguf/quasar-long.ts';
import { type GgufExport, writeGguf } from '../../export/gguf/write.ts';
import { licenceOf, type ModelView } from '../../export/model-view.ts';
import { UsageError } from '../../util/errors.ts';
import { formatBytes } from '../output.ts';
import { typedPath } from '../paths.ts';
import { ggufCommands } from './gguf-commands.ts';
import { measureGap } from './measure-gap.ts';
import { typeOf } from './options.ts';
import type { ExportCommandOptions, ExportTarget } from './targets.ts';

export const toGguf: ExportTarget = async (options, source, run) => {
  const type = typeOf(options, ggufFileTypeNames, 'F32');
  const { view } = source;
  const isWhole = options.layout === 'quasar_long';
  const isHybrid = view.config.hybrid_attention_layers.length > 0;
  const gap = isHybrid && !isWhole ? await measureGap(options, source, run) : null;
  const config = gap === null ? view.config : backboneConfig(view.config);
  const contextLength = options.context ?? config.max_position_embeddings;
  const { architecture, tensorCount, sizeBytes } = await writeGguf(options.out, {
    ...{ config, read: view.read, tokenizer: view.tokenizer, source: view.source, type, contextLength },
    ...licenceField(view),
    ...(isWhole
      ? { name: options.name, architecture: quasarLong }
      : {
          name: gap === null ? options.name : `${options.name}-backbone`,
          ...beside(options, view, contextLength, gap),
        }),
    ...run,
  });
  const measured = gap === null ? {} : { kl: gap.kl, lossGap: gap.lossGap, measuredTokens: gap.tokens };
  return {
    fields: { architecture, type, tensorCount, sizeBytes, ...measured },
    sentence:
      `${tensorCount} tensors, ${formatBytes(sizeBytes)}, ${type}, architecture ${architecture}` +
      (gap === null ? '' : `; the backbone alone, ${formatGap(gap)}`) +
      (isWhole ? '; for accrete only, other programs do not know this architecture' : ''),
    next: (cwd) =>
      isWhole
        ? [`./bin/accrete logits --checkpoint ${typedPath(options.out, cwd)} --tokens 1,2,3`]
        : ggufCommands(options.out, cwd),
  };
};

function licenceField({ readme }: ModelView): Pick<GgufExport, 'licence'> {
  const licence = licenceOf(readme);
  return licence === null ? {} : { licence };
}

/** The Modelfile, and for a backbone its card and what it lost as metadata. */
function beside(
  { out }: ExportCommandOptions,
  view: ModelView,
  contextLength: number,
  gap: BackboneGap | null,
): Pick<GgufExport, 'beside' | 'extra'> {
  const file = basename(out);
  const stem = file.replace(/\.gguf$/, '');
  if (stem === file) throw new UsageError(`--out: a GGUF file's name ends in .gguf, got '${file}'`);
  const modelfile = renderModelfile({ file, contextLength, hasChatTemplate: hasChatMarks(view.tokenizer.config) });
  const files = new Map([[`${stem}.Modelfile`, modelfile]]);
  if (gap === null) return { beside: files };
  return {
    beside: files.set(`${stem}.md`, backboneCard(view, file, gap)),
    extra: new Map<string, GgufValue>([
      ['quasar.branches_dropped', { bool: true }],
      ['quasar.backbone_kl', { f32: gap.kl }],
      ['quasar.backbone_loss_gap', { f32: gap.lossGap }],
      ['quasar.backbone_tokens', { u32: gap.tokens }],
    ]),
  };
}

function backboneCard(view: ModelView, file: string, gap: BackboneGap): string {
  return renderExportCard(
    { ...view, name: `${view.name}-backbone` },
    {
      tags: ['gguf', 'bailingmoe2'],
      what: 'The softmax backbone alone of a `quasar_long` model, without its linear-attention branches: not the model itself.',
      run: [{ title: 'llama.cpp', command: `llama-completion -m ${file} -no-cnv -n 64 -p 'The people of'` }],
      notes: ['llama.cpp knows no architecture with these branches. The numbers say what leaving them out costs.'],
      numbers: [
        ['KL divergence from the whole model', `${gap.kl.toFixed(5)} nats a token`],
        ['Loss beside the whole model', `${gap.lossGap >= 0 ? '+' : ''}${gap.lossGap.toFixed(5)} nats a token`],
        ['Measured on', `${gap.tokens.toLocaleString('en-US')} tokens of held-out text`],
      ],
    },
  );
}

const formatGap = ({ kl, lossGap, tokens }: BackboneGap): string =>
  `${lossGap.toFixed(4)} nats a token of loss and ${kl.toFixed(4)} of divergence from the whole model on ${tokens} tokens`;
