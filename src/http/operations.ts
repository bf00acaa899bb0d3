/** @file What operators' programs read: `/metrics` for Prometheus and `/healthz` for whatever restarts a process. */
import type { FastifyInstance } from 'fastify';
import type { PrometheusMetrics } from './prometheus.ts';

export interface OperationsOptions {
  readonly metrics: PrometheusMetrics;
  /** Numbers of the run by the names of their metrics, read when somebody asks. */
  readonly gauges: () => Readonly<Record<string, number>>;
  /** Rejects, or says why not, where the process does not do its work. */
  readonly check: () => Promise<string | null>;
}

/** For `startHttpServer`. */
export function operationsRoutes({ metrics, gauges, check }: OperationsOptions) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get('/metrics', async (_, reply) => {
      for (const [name, value] of Object.entries(gauges())) metrics.gauge(name, value);
      return reply
        .header('cache-control', 'no-store')
        .type(metrics.contentType)
        .send(await metrics.text());
    });
    app.get('/healthz', async (_, reply) => {
      const fault = await check().catch((error: Error) => error.message);
      const body = fault === null ? { ok: true } : { ok: false, message: fault.slice(0, 500) };
      return reply
        .header('cache-control', 'no-store')
        .code(fault === null ? 200 : 503)
        .send(body);
    });
  };
}
