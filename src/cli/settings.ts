/**
 * @file A command's options as text (`precedence.ts` says which won). Each value keeps where it came from, so that a fault
 * names it. Readers turn text into typed, bounded values or throw a UsageError.
 */
import { resolve } from 'node:path';
import { UsageError } from '../util/errors.ts';

/** An option's text, and the flag, variable or file that it came from. */
export type Value = { readonly text: string; readonly from: string };

export class Settings {
  /** The command's positional argument, where it takes one. */
  readonly argument: string | null;
  /** Of the few that take two. */
  readonly secondArgument: string | null;
  readonly #values: ReadonlyMap<string, Value>;
  readonly #cwd: string;

  constructor(
    values: ReadonlyMap<string, Value>,
    options: { readonly argument: string | null; readonly secondArgument?: string | null; readonly cwd: string },
  ) {
    this.#values = values;
    this.argument = options.argument;
    this.secondArgument = options.secondArgument ?? null;
    this.#cwd = options.cwd;
  }

  /** Whether the option was given or has a default. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** Whether somebody set it (flag, environment or file), so that it is more than a default. */
  isGiven(name: string): boolean {
    const value = this.#values.get(name);
    return value !== undefined && value.from !== 'default';
  }

  switch(name: string): boolean {
    const value = this.#values.get(name);
    if (value === undefined) return false;
    if (value.text === 'true' || value.text === '1') return true;
    if (value.text === 'false' || value.text === '0' || value.text === '') return false;
    throw this.#fault(name, value, 'true or false');
  }

  text(name: string): string {
    const value = this.#values.get(name);
    if (value === undefined) throw new UsageError(`--${name} is missing; add --${name} with its value`);
    if (value.text === '') throw this.#fault(name, value, 'a value');
    return value.text;
  }

  /** An absolute path. */
  path(name: string): string {
    return resolve(this.#cwd, this.text(name));
  }

  argumentPath(): string {
    if (this.argument === null) throw new UsageError('a path is missing; give it after the command');
    return resolve(this.#cwd, this.argument);
  }

  /** A whole number within [min, max]. */
  count(name: string, bounds: { readonly min: number; readonly max: number }): number {
    const value = this.#need(name);
    const plain = value.text.replaceAll('_', '');
    const number = /^\d{1,16}$/.test(plain) ? Number(plain) : Number.NaN;
    if (!(number >= bounds.min && number <= bounds.max)) {
      throw this.#fault(name, value, `a whole number from ${bounds.min} to ${bounds.max}`);
    }
    return number;
  }

  /** A number within [min, max]; decimals allowed. */
  number(name: string, bounds: { readonly min: number; readonly max: number }): number {
    const value = this.#need(name);
    const number = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(value.text) ? Number(value.text) : Number.NaN;
    if (!(number >= bounds.min && number <= bounds.max)) {
      throw this.#fault(name, value, `a number from ${bounds.min} to ${bounds.max}`);
    }
    return number;
  }

  choice<const T extends string>(name: string, choices: readonly T[]): T {
    const value = this.#need(name);
    const found = choices.find((choice) => choice === value.text);
    if (found === undefined) throw this.#fault(name, value, `one of ${choices.join(', ')}`);
    return found;
  }

  /** An http(s) URL without a trailing slash. */
  url(name: string): string {
    const value = this.#need(name);
    const parsed = URL.canParse(value.text) ? new URL(value.text) : null;
    if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) {
      throw this.#fault(name, value, 'a URL like http://127.0.0.1:4680');
    }
    return value.text.replace(/\/+$/, '');
  }

  #need(name: string): Value {
    this.text(name);
    return this.#values.get(name)!;
  }

  #fault(name: string, value: Value, expected: string): UsageError {
    return new UsageError(
      `${value.from === 'default' ? `--${name}` : value.from}: expected ${expected}, got '${value.text}'`,
    );
  }
}
