/** @file Metrics as Prometheus reads them, and that a stranger's labels cannot fill the memory. */
import { describe, expect, it } from 'vitest';
import { PrometheusMetrics } from './prometheus.ts';

describe('prometheus metrics', () => {
  it('adds counters up, keeps the newest of a gauge, sorts durations into buckets', async () => {
    const metrics = new PrometheusMetrics();
    metrics.count('frames_total', 2, { kind: 'a' });
    metrics.count('frames_total', 3, { kind: 'a' });
    metrics.gauge('heads', 7);
    metrics.gauge('heads', 4);
    metrics.observe('merge_seconds', 0.2);
    const text = await metrics.text();
    expect(text).toContain('accrete_frames_total{kind="a"} 5');
    expect(text).toContain('accrete_heads 4');
    expect(text).toContain('accrete_merge_seconds_bucket{le="0.3"} 1');
    expect(text).toContain('accrete_merge_seconds_bucket{le="0.1"} 0');
    expect(text).toContain('accrete_merge_seconds_sum 0.2');
  });

  it('keeps the labels of the first use, and only so many of their values', async () => {
    const metrics = new PrometheusMetrics();
    metrics.count('calls_total', 1, { code: 'OK' });
    metrics.count('calls_total', 1, { code: 'OK', other: 'x' });
    metrics.count('calls_total');
    for (let i = 0; i < 2_000; i++) metrics.count('calls_total', 1, { code: `code-${i}` });
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('accrete_calls_total'));
    expect(lines.length).toBe(500);
    expect(lines).toContain('accrete_calls_total{code="OK"} 2');
    expect(lines).toContain('accrete_calls_total{code=""} 1');
  });

  it('tells the next what it is told', () => {
    const told: unknown[][] = [];
    const next = {
      count: (...all: unknown[]) => void told.push(['count', ...all]),
      gauge: (...all: unknown[]) => void told.push(['gauge', ...all]),
      observe: (...all: unknown[]) => void told.push(['observe', ...all]),
    };
    const metrics = new PrometheusMetrics({ next });
    metrics.count('a_total');
    metrics.gauge('b', 1, { c: 'd' });
    metrics.observe('e_seconds', 2);
    expect(told).toEqual([
      ['count', 'a_total', 1, {}],
      ['gauge', 'b', 1, { c: 'd' }],
      ['observe', 'e_seconds', 2, {}],
    ]);
  });
});
