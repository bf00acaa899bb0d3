/**
 * @file Draws the running view of a live network as an SVG: `node --import tsx scripts/picture.ts URL FILE SECONDS` watches
 * the network at URL for SECONDS, then writes its last frame as the terminal would show it. No external program.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { readNetwork } from '../src/cli/up/network.ts';
import { renderScreen } from '../src/cli/up/screen.ts';
import { type NetworkView, trainingLossOf } from '../src/cli/up/view.ts';

const columns = 88;
const rows = 26;
const cell = { width: 8.4, height: 18 };
const margin = 16;
/** SGR codes that the view uses, as attributes of a text span. */
const styles: Readonly<Record<number, string>> = {
  1: 'font-weight="bold"',
  2: 'fill="#8b949e"',
  31: 'fill="#ff7b72"',
  32: 'fill="#7ee787"',
  36: 'fill="#79c0ff"',
};
const resets: Readonly<Record<number, readonly number[]>> = { 22: [1, 2], 39: [31, 32, 36] };

const escapeXml = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

function toSpans(line: string): string {
  const active = new Set<number>();
  return (
    line
      // biome-ignore lint/suspicious/noControlCharactersInRegex: an SGR sequence begins with ESC
      .split(/\u001b\[(\d+)m/)
      .map((part, i) => {
        if (i % 2 === 0)
          return part === ''
            ? ''
            : `<tspan ${[...active].map((code) => styles[code]).join(' ')}>${escapeXml(part)}</tspan>`;
        const code = Number(part);
        if (resets[code] === undefined) active.add(code);
        else for (const ended of resets[code]) active.delete(ended);
        return '';
      })
      .join('')
  );
}

function toSvg(lines: readonly string[]): string {
  const width = columns * cell.width + 2 * margin;
  const height = lines.length * cell.height + 2 * margin;
  const texts = lines.map((line, i) => {
    const y = margin + (i + 0.75) * cell.height;
    return `<text x="${margin}" y="${y}" xml:space="preserve">${toSpans(line)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="The running view of accrete up">`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="#e6edf3">`,
    ...texts,
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

async function main([url, file, seconds]: readonly string[]): Promise<number> {
  if (url === undefined || file === undefined || !(Number(seconds) > 0)) {
    console.error('picture: expected URL FILE SECONDS');
    return 2;
  }
  const startedAt = performance.now();
  const trainingLosses: number[] = [];
  let last: NetworkView | null = null;
  while (performance.now() - startedAt < Number(seconds) * 1000) {
    const next = await readNetwork(url);
    if (next !== null) {
      last = next;
      const loss = trainingLossOf(next);
      if (loss !== null) trainingLosses.push(loss);
    }
    await sleep(1_000);
  }
  if (last === null) {
    console.error(`picture: nothing answered at ${url}`);
    return 1;
  }
  const frame = {
    ...{ network: last, url, processes: [], trainingLosses, limitMs: null, limitTokens: null },
    elapsedMs: performance.now() - startedAt,
    lastEvent: `${last.mergeCount} merges, ${last.releaseCount} releases`,
  };
  writeFileSync(file, toSvg(renderScreen(frame, { columns, rows, color: true })));
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
