/** @file Streamed text: nothing given is taken back, and stop strings end it wherever tokens are cut. */
import { describe, expect, it } from 'vitest';
import { TextStream } from './text-stream.ts';

const bytes = (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids));
const encode = (text: string) => [...new TextEncoder().encode(text)];

function stream(text: string, stops: readonly string[]): { parts: string[]; text: string; isStopped: boolean } {
  const out = new TextStream({ decode: bytes, stops });
  const parts = encode(text).map((id) => out.push(id));
  parts.push(out.end());
  return { parts, text: out.text, isStopped: out.isStopped };
}

describe('TextStream', () => {
  it('gives characters when they are whole', () => {
    const { parts, text } = stream('aé€b', []);
    expect(parts).toEqual(['a', '', 'é', '', '', '€', 'b', '']);
    expect(text).toBe('aé€b');
  });

  it('ends before a stop string that several tokens make up', () => {
    const { parts, text, isStopped } = stream('one END two', ['END', 'two']);
    expect(parts.join('')).toBe('one ');
    expect({ text, isStopped }).toEqual({ text: 'one ', isStopped: true });
  });

  it('gives back what only looked like a stop string', () => {
    expect(stream('an ENemy, EN', ['END']).parts.join('')).toBe('an ENemy, EN');
  });

  it('shows the rest of a cut character at the end', () => {
    expect(stream('x', []).parts.join('')).toBe('x');
    const out = new TextStream({ decode: bytes, stops: [] });
    expect(out.push(0xe2) + out.end()).toBe('\uFFFD');
  });
});
