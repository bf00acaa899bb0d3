/**
 * @file What a command declares of itself. Declarations are data: `main.ts` builds the parser from them,
 * `scripts/cli-docs.ts` builds `docs/cli.md`. A handler is loaded only when its command runs, so that `--help` stays quick.
 */
import type { Io } from './io.ts';
import type { Settings } from './settings.ts';

export interface OptionDeclaration {
  /** Without the dashes: `max-tokens`. Its environment variable is `ACCRETE_MAX_TOKENS`. */
  readonly name: string;
  /** What stands for the value in the help (`N`, `DIR`, `URL`); absent for a switch. */
  readonly value?: string;
  /** One sentence, with the unit. */
  readonly description: string;
  /** As it would be typed. */
  readonly default?: string;
  readonly choices?: readonly string[];
  readonly required?: boolean;
}

export interface CommandDeclaration {
  /** One or two words: `mine`, `model check`. */
  readonly name: string;
  readonly description: string;
  readonly argument?: { readonly name: string; readonly description: string };
  readonly secondArgument?: { readonly name: string; readonly description: string };
  readonly options: readonly OptionDeclaration[];
  /** A line that works as it stands (given what it names). */
  readonly example: string;
  readonly load: () => Promise<{ readonly handle: Handler }>;
}

/** Does the command and gives the exit code: 0, or 1 for a failure that has been reported. */
export type Handler = (settings: Settings, io: Io) => Promise<number>;

/** Every command has these. */
export const commonOptions: readonly OptionDeclaration[] = [
  { name: 'json', description: 'print JSON instead of text, one object a line' },
  {
    name: 'options',
    value: 'FILE',
    description: 'JSON file of options by command, e.g. {"mine": {"threads": 2}}; flags and environment win over it',
    default: 'accrete.json',
  },
];

export const environmentNameOf = (option: string): string => `ACCRETE_${option.toUpperCase().replaceAll('-', '_')}`;
