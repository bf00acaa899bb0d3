/** @file Does `accrete serve`: opens the model, serves it until a signal comes, and ends open answers then. */
import { basename } from 'node:path';
import { PrometheusMetrics } from '../../http/prometheus.ts';
import { serveModel } from '../../serve/server.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { openLanguageModel } from '../open-model.ts';
import { readSecretFile } from '../prompt.ts';
import type { Settings } from '../settings.ts';

const localHosts = ['127.0.0.1', '::1', 'localhost'];

export const handle: Handler = async (settings, io) => {
  const options = parseOptions(settings);
  const isJson = settings.switch('json');
  const apiKey = settings.has('key-file') ? await readSecretFile(settings.path('key-file'), 'key-file') : null;
  if (!settings.has('checkpoint')) throw new UsageError('--checkpoint is missing; say which checkpoint to serve');
  const { log } = roleEnvironment(io, { role: 'serve', json: isJson });
  const opened = await openLanguageModel(settings, io);
  const model = { ...opened, name: settings.has('name') ? settings.text('name') : basename(opened.name) };
  try {
    // The first answer is not slower than others.
    await model.model.begin().prepare(1);
    const metrics = new PrometheusMetrics({ isProcessTold: true });
    const server = await serveModel({ ...options, model, apiKey, metrics, log });
    try {
      if (isJson) io.out(JSON.stringify({ url: server.url, model: model.name, contextTokens: model.contextTokens }));
      else io.out(`${model.name} is served at ${server.url}/v1 (context ${model.contextTokens} tokens); Ctrl-C ends`);
      if (apiKey === null && !localHosts.includes(options.host))
        log.warn('anybody who reaches this address may ask; --key-file FILE asks for a key', { host: options.host });
      await new Promise<void>((resolve) => {
        if (io.stop.aborted) resolve();
        io.stop.addEventListener('abort', () => resolve(), { once: true });
      });
    } finally {
      await server.close();
    }
    return 0;
  } finally {
    await model.model.release();
  }
};

const parseOptions = (settings: Settings) => ({
  host: settings.text('host'),
  port: settings.count('port', { min: 0, max: 65_535 }),
  concurrent: settings.count('concurrent', { min: 1, max: 1_024 }),
  queue: settings.count('queue', { min: 0, max: 65_536 }),
  maxBodyBytes: settings.count('max-body', { min: 1, max: 1 << 20 }) * 1_024,
});
