/** @file Formats of numbers, the sparkline, tables, the log, and failures in words. */
import { describe, expect, it } from 'vitest';
import { BaseError, UsageError } from '../util/errors.ts';
import { explainFailure } from './failure.ts';
import { createLog } from './log.ts';
import { formatBytes, formatDuration, formatShort, sparkline } from './output.ts';
import { formatTable } from './table.ts';

describe('output', () => {
  it('formats numbers for people', () => {
    expect([0, 1023, 1536, 200 * 1024, 3 * 1024 ** 3].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.5 KiB',
      '200 KiB',
      '3.0 GiB',
    ]);
    expect([9_999, 12_345, 4_200_000, 16_553_949_296].map(formatShort)).toEqual(['9999', '12.3k', '4.20M', '16.6B']);
    expect([400, 59_000, 75_000, 3_725_000].map(formatDuration)).toEqual(['0s', '59s', '1m15s', '1h02m']);
  });

  it('draws a falling line falling', () => {
    expect(sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8)).toBe('█▇▆▅▄▃▂▁');
    expect(sparkline([1, 1, 1], 8)).toBe('▁▁▁');
    expect(sparkline([], 8)).toBe('');
    expect(sparkline([Number.NaN, 2, 1], 1)).toHaveLength(1);
  });

  it('aligns columns', () => {
    expect(
      formatTable(
        ['name', '>n'],
        [
          ['a', '1'],
          ['bcdef', '10'],
        ],
      ),
    ).toEqual(['name    n', 'a       1', 'bcdef  10']);
  });
});

describe('log', () => {
  it('writes events with fields and never a secret', () => {
    const lines: string[] = [];
    const log = createLog({ level: 'info', format: 'text', write: (line) => lines.push(line) });
    log
      .child({ role: 'miner' })
      .info('joined', { threads: 2, secretKey: 'abc', sessionToken: 'x', cause: new Error('why') });
    log.debug('not shown');
    expect(lines).toHaveLength(1);
    expect(lines[0]!.slice(9)).toBe('info  joined  role=miner threads=2 cause=why');
    const json = createLog({ level: 'warn', format: 'json', write: (line) => lines.push(line) });
    json.warn('slow', { ms: 5 });
    expect(JSON.parse(lines[1]!)).toMatchObject({ level: 'warn', msg: 'slow', ms: 5 });
  });
});

describe('failures', () => {
  class SomeError extends BaseError<'BROKEN'> {}
  it('get a sentence, a code and an exit code', () => {
    const system = Object.assign(new Error('x'), { code: 'ENOSPC', path: '/run/store' });
    const taken = Object.assign(new Error('x'), { code: 'EADDRINUSE', port: 4680 });
    expect(explainFailure(new UsageError('typed wrong'))).toMatchObject({
      exitCode: 2,
      sentence: 'typed wrong',
      stack: null,
    });
    expect(explainFailure(new SomeError('BROKEN', 'it broke'))).toMatchObject({
      exitCode: 1,
      code: 'BROKEN',
      stack: null,
    });
    expect(explainFailure(system)).toMatchObject({ exitCode: 1, code: 'ENOSPC' });
    expect(explainFailure(system).sentence).toContain('the disk is full');
    expect(explainFailure(taken)).toMatchObject({ exitCode: 2 });
    expect(explainFailure(taken).sentence).toContain('port 4680 is taken');
    expect(explainFailure(new TypeError('oops'))).toMatchObject({ exitCode: 1, code: 'INTERNAL' });
    expect(explainFailure(new TypeError('oops')).stack).toContain('TypeError');
  });
});
