/** @file Does `accrete eval needle`: a table of recall by length and depth; progress on standard error. */
import { needleRecall } from '../../evaluation/needle.ts';
import { loadCheckpoint } from '../../model/checkpoint.ts';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import { openTokenizer } from '../checkpoint-tokenizer.ts';
import type { Handler } from '../command.ts';
import { formatPercent } from '../output.ts';
import { formatTable } from '../table.ts';
import { parseEvalNeedleOptions } from './options.ts';

export const handle: Handler = async (settings, io) => {
  const options = parseEvalNeedleOptions(settings);
  const { config, params } = await loadCheckpoint(options.checkpoint);
  const tokenizer = await openTokenizer(options.checkpoint, config.vocab_size);
  const decoder = await openDecoder(config, params, { threads: options.threads, device: options.device });
  try {
    const model = {
      encode: (text: string) => tokenizer.encode(text),
      async score(ids: readonly number[]) {
        io.stop.throwIfAborted();
        decoder.reset();
        return await decoder.feedLast(ids);
      },
    };
    const report = await needleRecall(options, model, ({ length, depth, recall }) =>
      io.err(`length ${length}, depth ${depth}: recall ${formatPercent(recall)}`),
    );
    if (settings.switch('json')) {
      io.out(JSON.stringify(report));
      return 0;
    }
    const row = (length: number) =>
      options.depths.map((depth) => {
        const cell = report.cells.find((c) => c.length === length && c.depth === depth)!;
        return formatPercent(cell.recall);
      });
    const table = formatTable(
      ['tokens', ...options.depths.map((depth) => `>depth ${depth}`)],
      options.lengths.map((length) => [String(length), ...row(length)]),
    );
    io.out(table.join('\n'));
    io.out(
      `Share of ${options.samples} prompts whose hidden word, one of ${report.candidates}${report.byFirstToken ? ' told apart by their first tokens' : ''}, scores highest of them at the end; guessing gives ${formatPercent(report.chance)}.`,
    );
    return 0;
  } finally {
    await decoder.release();
  }
};
