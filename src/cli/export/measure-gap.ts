/** @file What a hybrid model's backbone loses, measured on the operator's held-out text before a file of it is written. */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Tokenizer } from '../../data/tokenizer.ts';
import { type BackboneGap, backboneConfig, measureBackbone } from '../../export/backbone.ts';
import { ExportError } from '../../export/errors.ts';
import { UsageError } from '../../util/errors.ts';
import type { ExportCommandOptions, ExportRun, ExportSource } from './targets.ts';

const maxTextBytes = 16 * 2 ** 20;
/** Some minutes of a small model, and enough that the mean stands: more text is not read. */
const maxTokens = 16_384;
const maxSequence = 512;
const minTokens = 64;

/** @throws UsageError, or ExportError UNREPRESENTABLE where the backbone loses more than `maxGap` */
export async function measureGap(
  options: ExportCommandOptions,
  source: ExportSource,
  { signal, say }: ExportRun,
): Promise<BackboneGap> {
  if (options.heldOut === null)
    throw new UsageError(
      'hybrid_attention_layers: llama.cpp has no linear branches, so a GGUF file holds the backbone alone; add --held-out FILE, ' +
        'a text that the model was not trained on, to measure what that costs, or --layout quasar_long for a file that accrete alone runs',
    );
  if (!basename(options.out).endsWith('-backbone.gguf'))
    throw new UsageError(`--out: the file of a backbone is named …-backbone.gguf, got '${basename(options.out)}'`);
  const { view } = source;
  const length = Math.min(
    maxSequence,
    options.context ?? Number.POSITIVE_INFINITY,
    backboneConfig(view.config).max_position_embeddings,
  );
  const sequences = cut(await encode(options.heldOut, view.tokenizer), length);
  say(`measuring the backbone on ${sequences.flat().length} tokens`);
  const gap = await measureBackbone(view.config, await source.load(), sequences, { threads: options.threads, signal });
  const worst = Math.max(gap.kl, gap.lossGap);
  if (!(worst <= options.maxGap))
    throw new ExportError(
      'UNREPRESENTABLE',
      `hybrid_attention_layers: without its branches the model loses ${gap.lossGap.toFixed(4)} nats a token (divergence ${gap.kl.toFixed(4)}) ` +
        `on ${gap.tokens} tokens, more than ${options.maxGap}; --to mlx and --to hf hold the whole model; --max-gap writes the backbone all the same`,
      { context: { field: 'hybrid_attention_layers' } },
    );
  return gap;
}

async function encode(
  path: string,
  tokenizer: { readonly json: string; readonly config: string },
): Promise<readonly number[]> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new UsageError(`--held-out: ${path} cannot be read`, { cause });
  });
  if (info.size > maxTextBytes)
    throw new UsageError(`--held-out: ${info.size} bytes; at most ${maxTextBytes} are read`);
  const ids = open(tokenizer).encode(await readFile(path, 'utf8'));
  if (ids.length < minTokens)
    throw new UsageError(
      `--held-out: ${path} has ${ids.length} tokens; at least ${minTokens} are needed to measure on`,
    );
  return ids.slice(0, maxTokens);
}

function open({ json, config }: { readonly json: string; readonly config: string }): Tokenizer {
  try {
    return new Tokenizer(json, config);
  } catch (cause) {
    throw new ExportError('BAD_TOKENIZER', `tokenizer.json cannot be used: ${(cause as Error).message}`, { cause });
  }
}

function cut(ids: readonly number[], length: number): number[][] {
  const sequences: number[][] = [];
  for (let at = 0; at + 2 <= ids.length; at += length) sequences.push(ids.slice(at, at + length));
  return sequences.filter((ids) => ids.length >= 2);
}
