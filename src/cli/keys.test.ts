/** @file Key files: made once, private, refused when damaged or exposed, never quoted. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openKeys } from './keys.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'accrete-keys-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('keys', () => {
  it('are made once, with mode 0600, and are the same afterwards', () => {
    const first = openKeys(dir);
    const second = openKeys(dir);
    expect(second.hotkey.hotkey).toBe(first.hotkey.hotkey);
    expect(second.session.sessionKey).toBe(first.session.sessionKey);
    for (const name of ['hotkey.json', 'session.json']) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  });

  it('are refused when others can read them', () => {
    openKeys(dir);
    chmodSync(join(dir, 'hotkey.json'), 0o644);
    expect(() => openKeys(dir)).toThrow(/can be read by other users; type: chmod 600/);
  });

  it('are refused when damaged, without quoting them', () => {
    openKeys(dir);
    const path = join(dir, 'session.json');
    const secret = /"secretSeed": "(.*)"/.exec(readFileSync(path, 'utf8'))![1]!;
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, -10));
    expect(() => openKeys(dir)).toThrow(/not a key file/);
    try {
      openKeys(dir);
    } catch (error) {
      expect((error as Error).message).not.toContain(secret);
    }
  });
});
