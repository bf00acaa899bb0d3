/** @file Questions to the operator at a terminal; passwords are not echoed. Without a terminal the answer comes from an option. */
import { readFile, stat } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { UsageError } from '../util/errors.ts';
import type { Io } from './io.ts';
import type { Settings } from './settings.ts';

const maxSecretFileBytes = 4_096;

/** The first line of a file that only its owner can read. @throws UsageError */
export async function readSecretFile(path: string, option: string): Promise<string> {
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) throw new UsageError(`--${option}: there is no file at ${path}`);
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0)
    throw new UsageError(`--${option}: ${path} can be read by other users; type: chmod 600 ${path}`);
  if (info.size > maxSecretFileBytes)
    throw new UsageError(`--${option}: ${path} is larger than 4 KiB; expected one line`);
  const line = (await readFile(path, 'utf8')).split(/\r?\n/)[0]!;
  if (line === '') throw new UsageError(`--${option}: the first line of ${path} is empty`);
  return line;
}

/** From the file, or asked for; twice where it is new. */
export async function readPassword(
  settings: Settings,
  io: Io,
  { what, isNew = false }: { readonly what: string; readonly isNew?: boolean },
): Promise<string> {
  if (settings.has('password-file')) return readSecretFile(settings.path('password-file'), 'password-file');
  const password = await askHidden(io, `password of ${what}: `, '--password-file FILE');
  if (isNew && (await askHidden(io, 'again: ', '--password-file FILE')) !== password)
    throw new UsageError('the two passwords differ; nothing was written, try again');
  if (password === '') throw new UsageError('the password is empty; nothing was done');
  return password;
}

/** A line that is not echoed. @throws UsageError without a terminal, naming the option to use */
export async function askHidden(io: Io, question: string, instead: string): Promise<string> {
  if (io.terminal === null || !process.stdin.isTTY)
    throw new UsageError(`there is no terminal to ask at; use ${instead}`);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true });
  io.write(question);
  try {
    return await reader.question('', { signal: io.stop });
  } finally {
    reader.close();
    io.write('\n');
  }
}

/** True for yes. @throws UsageError without a terminal and without `--yes` */
export async function confirm(settings: Settings, io: Io, question: string): Promise<boolean> {
  if (settings.switch('yes')) return true;
  if (io.terminal === null || !process.stdin.isTTY)
    throw new UsageError(`${question} Add --yes to say so without a terminal`);
  const reader = createInterface({ input: process.stdin, output: io.terminal.stream });
  try {
    return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `, { signal: io.stop })).trim());
  } finally {
    reader.close();
  }
}
