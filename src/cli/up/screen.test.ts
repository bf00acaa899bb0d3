/** @file The live view fits its terminal and shows what a newcomer is promised. */
import { describe, expect, it } from 'vitest';
import { clip, renderScreen } from './screen.ts';
import { sampleFrame, sampleNetwork } from './test-support.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: an SGR sequence begins with ESC
const plain = (line: string): string => line.replace(/\u001b\[[0-9;]*m/g, '');

describe('screen', () => {
  it('fits every terminal from 80×24 on, with few or many miners and fragments', () => {
    for (const [columns, rows] of [
      [80, 24],
      [100, 30],
      [200, 60],
    ] as const) {
      for (const fragments of [4, 6, 24]) {
        const network = sampleNetwork({
          fragments: Array.from({ length: fragments }, (_, fragment) => ({ fragment, version: 110, ageMs: 125_000 })),
        });
        const lines = renderScreen(sampleFrame(network), { columns, rows, color: true }).map(plain);
        const about = `${columns}×${rows}, ${fragments} fragments`;
        expect(lines.length, about).toBeLessThan(rows);
        for (const line of lines) expect([...line].length, `${about}: ${line}`).toBeLessThanOrEqual(columns);
      }
    }
  });

  it('shows tokens, losses, miners, fragments, merges and releases on 80×24', () => {
    const text = renderScreen(sampleFrame(), { columns: 80, rows: 24, color: false }).join('\n');
    for (const part of [
      '1,234,567 counted',
      '6,543/s',
      'training 4.200',
      'held-out 5.250',
      'another source 5.750',
      'miner-3',
      '0 TAO  ↻ 2',
      'dashboard http://localhost:4680',
      'fragment ',
      'version ',
      'fragment 0 → version 2',
      'release 2',
      'being evaluated',
      '1m15s of 10m00s',
    ])
      expect(text).toContain(part);
  });

  it('says what a phase waits for once its tokens are merged', () => {
    const gate = { gate: 'held-out of at most 1', isHeld: false, found: '0 of 2 validators found it so on release 3' };
    const phase = { ...sampleNetwork().phase, count: 2, targetTokens: 1_000_000, gates: [gate] };
    const linesOf = (changes: object): string =>
      renderScreen(sampleFrame(sampleNetwork({ phase: { ...phase, ...changes } })), {
        ...{ columns: 100, rows: 40, color: false },
      }).join('\n');
    expect(linesOf({})).toContain('waits     for held-out of at most 1: 0 of 2 validators found it so on release 3');
    expect(linesOf({ gates: [{ ...gate, isHeld: true }] })).not.toContain('waits');
    expect(linesOf({ targetTokens: 2_000_000 })).not.toContain('waits');
    // Nothing comes after the last one.
    expect(linesOf({ index: 1 })).not.toContain('waits');
  });

  it('does not know a loss before there is one', () => {
    const network = sampleNetwork({ miners: [], releases: [], merges: [], initialLosses: {} });
    const text = renderScreen(sampleFrame(network), { columns: 80, rows: 24, color: false }).join('\n');
    expect(text).toContain('training - ');
    expect(text).toContain('none yet');
  });

  it('clips by what is seen', () => {
    expect(clip('\u001b[31mabcdef\u001b[39m', 3)).toBe('\u001b[31mabc\u001b[39m');
  });
});
