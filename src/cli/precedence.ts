/** @file Which value of an option wins: flag, then environment, then options file, then default. */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { UsageError } from '../util/errors.ts';
import { type CommandDeclaration, commonOptions, environmentNameOf, type OptionDeclaration } from './command.ts';
import type { Io } from './io.ts';
import { Settings, type Value } from './settings.ts';

/** Applies the precedence; `flags` are what the command line gave, by option name. */
export function resolveSettings(
  command: CommandDeclaration,
  flags: Readonly<Record<string, string | boolean>>,
  io: Io,
  argument: string | null,
  secondArgument: string | null = null,
): Settings {
  const declared = [...command.options, ...commonOptions];
  const values = new Map<string, Value>();
  const file = readOptionsFile(command, flags, io);
  for (const option of declared) {
    const value = pick(option, flags, io, file);
    if (value !== null) values.set(option.name, value);
    else if (option.required) {
      throw new UsageError(
        `accrete ${command.name}: --${option.name} ${option.value ?? ''} is missing (${option.description}); for example: ${command.example}`,
      );
    }
  }
  return new Settings(values, { argument, secondArgument, cwd: io.cwd });
}

type OptionsFile = { readonly path: string; readonly values: Readonly<Record<string, unknown>> };

function pick(
  option: OptionDeclaration,
  flags: Readonly<Record<string, string | boolean>>,
  io: Io,
  file: OptionsFile | null,
): Value | null {
  const flag = flags[option.name];
  if (flag !== undefined) return { text: String(flag), from: `--${option.name}` };
  const variable = environmentNameOf(option.name);
  const set = io.environment[variable];
  if (set !== undefined) return { text: set, from: variable };
  const stored = file?.values[option.name];
  if (file !== null && stored !== undefined) return { text: String(stored), from: `${file.path}: ${option.name}` };
  return option.default === undefined ? null : { text: option.default, from: 'default' };
}

const maxOptionsFileBytes = 1 << 20;

function readOptionsFile(
  command: CommandDeclaration,
  flags: Readonly<Record<string, string | boolean>>,
  io: Io,
): OptionsFile | null {
  const given = flags.options ?? io.environment[environmentNameOf('options')];
  const path = resolve(io.cwd, given === undefined ? 'accrete.json' : String(given));
  if (!existsSync(path)) {
    if (given === undefined) return null;
    throw new UsageError(`--options: no file at ${path}; create it or leave the option out`);
  }
  const text = readFileSync(path, 'utf8');
  if (text.length > maxOptionsFileBytes)
    throw new UsageError(`${path}: expected at most 1 MiB of JSON, got ${text.length} bytes`);
  const all = parseObject(text, path);
  const own = all[command.name] ?? {};
  if (typeof own !== 'object' || own === null || Array.isArray(own)) {
    throw new UsageError(`${path}: expected "${command.name}" to be an object of options`);
  }
  const values = own as Readonly<Record<string, unknown>>;
  for (const [name, value] of Object.entries(values)) {
    if (!command.options.some((option) => option.name === name)) {
      const known = command.options.map((option) => option.name).join(', ');
      throw new UsageError(`${path}: '${name}' is no option of accrete ${command.name}; it knows ${known}`);
    }
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw new UsageError(`${path}: ${name}: expected a string, a number, true or false`);
    }
  }
  return { path, values };
}

function parseObject(text: string, path: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${path}: expected JSON (${(error as Error).message})`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${path}: expected a JSON object of options by command`);
  }
  return value as Readonly<Record<string, unknown>>;
}
