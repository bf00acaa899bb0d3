/** @file The report: the status of a line, and which divergence is the first. */
import { describe, expect, it } from 'vitest';
import { Findings } from './findings.ts';
import { checkOfFault, checkOfRefusal, expectedAndFound } from './rules.ts';

const about = { record: 'here', run: null, entries: 0 };
const divergence = { event: 'x', expected: 'a', found: 'b' };

describe('a report', () => {
  it('names the divergence of the earliest entry, and those without an entry last', () => {
    const findings = new Findings();
    findings.fail({ check: 'ledger', seq: null, ...divergence });
    findings.fail({ check: 'merges', seq: 7, ...divergence });
    findings.fail({ check: 'releases', seq: 5, ...divergence });
    const report = findings.report(about);
    expect(report).toMatchObject({ ok: false, first: { check: 'releases', seq: 5 } });
    expect(report.checks.filter(({ status }) => status === 'FAILED').map(({ check }) => check)).toEqual([
      'ledger',
      'merges',
      'releases',
    ]);
  });

  it('keeps the first divergences of a check and counts all', () => {
    const findings = new Findings();
    for (let seq = 0; seq < 50; seq++) findings.fail({ check: 'beacons', seq, ...divergence });
    const report = findings.report(about);
    expect(report.divergences).toHaveLength(10);
    expect(report.checks.find(({ check }) => check === 'beacons')!.divergences).toBe(50);
  });

  it('calls a line ok, attested, not checked or FAILED, the worst of it', () => {
    const findings = new Findings();
    findings.count('merges', 'recomputed', 1_234);
    findings.attested('merges', 'attested by me');
    findings.attested('artifacts', 'attested');
    findings.unchecked('artifacts', 'nobody did');
    findings.unchecked('weights', 'no ledger');
    findings.fail({ check: 'weights', seq: 1, ...divergence });
    findings.count('leases', 'leases');
    const status = new Map(findings.report(about).checks.map((line) => [line.check, line]));
    expect(status.get('merges')).toMatchObject({ status: 'attested', summary: '1,234 recomputed; attested by me' });
    expect(status.get('artifacts')!.status).toBe('not checked');
    expect(status.get('weights')!.status).toBe('FAILED');
    expect(status.get('leases')!.status).toBe('ok');
    expect(status.get('cells')).toMatchObject({ status: 'ok', summary: 'nothing of it in this record' });
  });
});

describe('a refused entry', () => {
  it('belongs to the check of its kind, or of its code', () => {
    expect(checkOfRefusal('lease', 'WRONG_RANGE')).toBe('leases');
    expect(checkOfRefusal('claim-commit', 'DOUBLE_COUNT')).toBe('cells');
    expect(checkOfRefusal('release', 'WRONG_TREE_HEAD')).toBe('tree heads');
    expect(checkOfRefusal('constructor', 'X')).toBe('journal');
    expect(checkOfFault('BAD_SIGNATURE')).toBe('signatures');
    expect(checkOfFault('BROKEN_CHAIN')).toBe('journal');
  });

  it('tells what was expected and found apart, as far as its sentence does', () => {
    expect(expectedAndFound('WRONG_RANGE', 'expected sequences 0 to 4, got 4 to 8')).toEqual({
      expected: 'sequences 0 to 4',
      found: '4 to 8 [WRONG_RANGE]',
    });
    expect(expectedAndFound('NOT_READY', 'every fragment must be merged')).toEqual({
      expected: 'an event that the rules allow here',
      found: 'NOT_READY: every fragment must be merged',
    });
  });
});
