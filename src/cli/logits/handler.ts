/** @file Does `accrete logits`. Positions are read in blocks, so that memory holds a block's numbers and not all. */
import { logProbabilities } from '../../export/backbone.ts';
import { openDecoder } from '../../model/quasar-long/generate.ts';
import { UsageError } from '../../util/errors.ts';
import { loadModel } from '../checkpoint-model.ts';
import { locateCheckpoint } from '../checkpoint-place.ts';
import type { Handler } from '../command.ts';
import { parseDevice } from '../device.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

const maxTokens = 1 << 20;
const block = 256;

export const handle: Handler = async (settings, io) => {
  const tokens = parseTokens(settings);
  const [threads, device] = [parseThreads(settings), parseDevice(settings)];
  const { config, params } = await loadModel(await locateCheckpoint(settings, io));
  const { vocab_size: vocab } = config;
  const foreign = tokens.find((id) => id >= vocab);
  if (foreign !== undefined) throw new UsageError(`--tokens: ${foreign} is no token of this model, which has ${vocab}`);
  const decoder = await openDecoder(config, params, { threads, device });
  try {
    for (let at = 0; at < tokens.length; at += block) {
      io.stop.throwIfAborted();
      const ids = tokens.slice(at, at + block);
      const values = await decoder.feed(ids);
      for (const [i, token] of ids.entries()) {
        const logprobs = [...logProbabilities(values.subarray(i * vocab, (i + 1) * vocab))].map(nineDigits);
        if (settings.switch('json')) io.out(JSON.stringify({ position: at + i, token, logprobs }));
        else io.out([at + i, token, ...logprobs].join(' '));
      }
    }
    return 0;
  } finally {
    await decoder.release();
  }
};

/** More than float32 logits have. */
const nineDigits = (value: number): number => Number(value.toPrecision(9));

function parseTokens(settings: Settings): readonly number[] {
  const text = settings.text('tokens');
  const ids = text.split(',').map((part) => (/^\s*\d{1,9}\s*$/.test(part) ? Number(part) : Number.NaN));
  if (ids.length > maxTokens || ids.some(Number.isNaN))
    throw new UsageError(`--tokens: expected at most ${maxTokens} ids like 1,2,3, got '${text.slice(0, 60)}'`);
  return ids;
}
