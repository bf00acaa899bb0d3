/**
 * @file The page's clock: the server's time, counted on from its last answer; a snapshot's clock stands still. Ages are shown
 * against it, so that a wrong clock of this machine makes no wrong ages.
 */
import { signal } from '@preact/signals';

const tick = signal(Date.now());
const offsetMs = signal(0);
const frozenAtMs = signal<number | null>(null);

setInterval(() => {
  if (globalThis.document?.visibilityState !== 'hidden') tick.value = Date.now();
}, 1_000);

/** Reading it in a component draws that component anew each second. */
export const nowMs = (): number => frozenAtMs.value ?? tick.value + offsetMs.value;

/** Whole seconds of this machine's clock until `atMs`. */
export const secondsLeft = (atMs: number): number => Math.ceil((atMs - tick.value) / 1_000);

export function setServerTime(serverMs: number): void {
  const next = serverMs - Date.now();
  // Small differences are the network's delay: following them would make ages jump.
  if (Math.abs(next - offsetMs.peek()) > 1_500) offsetMs.value = next;
}

export function freezeClock(atMs: number): void {
  frozenAtMs.value = atMs;
}
