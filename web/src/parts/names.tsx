/** @file Hashes, hotkeys, ages: short to the eye, whole on hover, for copying and for a screen reader. */
import { useSignal } from '@preact/signals';
import { nowMs } from '../api/clock.ts';
import { shortHash, shortHotkey } from '../format/numbers.ts';
import { age, dateTime } from '../format/time.ts';
import { hrefOf } from '../router.ts';

export function HashText({ hash }: { hash: string }) {
  return (
    <code class="hash" title={hash}>
      {shortHash(hash)}
    </code>
  );
}

/** The whole text with a button that copies it. */
export function Copyable({ text, label }: { text: string; label: string }) {
  const done = useSignal(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      done.value = true;
      setTimeout(() => (done.value = false), 1_500);
    } catch {
      // Not allowed on plain http from other machines: the text can still be marked by hand.
    }
  };
  return (
    <span class="copyable">
      <code>{text}</code>
      <button type="button" class="button quiet small" onClick={copy} aria-label={`Copy ${label}`}>
        {done.value ? 'copied' : 'copy'}
      </button>
    </span>
  );
}

export function MinerLink({ hotkey, name }: { hotkey: string; name?: string | undefined }) {
  return (
    <a class="miner-link" href={hrefOf(`miners/${hotkey}`)} title={hotkey}>
      {name !== undefined && <span class="miner-name">{name}</span>}
      <code>{shortHotkey(hotkey)}</code>
    </a>
  );
}

export function Age({ atMs }: { atMs: number | null }) {
  if (atMs === null) return <span class="faint">never</span>;
  return (
    <time dateTime={new Date(atMs).toISOString()} title={dateTime(atMs)}>
      {age(nowMs() - atMs)}
    </time>
  );
}
