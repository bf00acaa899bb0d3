/**
 * @file Renders `docs/configuration.md`: what a node is told (the declarations of its commands) and what a run agrees on (the
 * manifest's schema). Units and meanings stand in tables here; what is declared and not in them makes rendering fail.
 */
import { z } from 'zod';
import { artifactRefSchema, manifestSchema } from '../protocol/manifest.ts';
import { decimalSchema, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { type CommandDeclaration, commonOptions, environmentNameOf, type OptionDeclaration } from './command.ts';
import { fallbackCell, flagCell } from './docs.ts';
import { manifestMeanings } from './manifest-meanings.ts';

/** Commands that go on until they are stopped. */
export const nodeCommands = ['up', 'orchestrate', 'mine', 'validate', 'serve'] as const;

/** Of values that are numbers (`N`, `X`, `S`): unit, or `number` for a plain one. */
const units: Readonly<Record<string, string>> = {
  ...{ miners: 'processes', validators: 'processes', seed: 'number', tokens: 'tokens', minutes: 'minutes' },
  ...{ netuid: 'number', momentum: 'share', 'learning-rate': 'number', 'final-learning-rate': 'number' },
  ...{ 'warmup-tokens': 'tokens', 'schedule-tokens': 'tokens', 'weight-decay': 'number', 'clip-norm': 'norm' },
  ...{ 'bias-rate': 'number', accumulate: 'micro-batches', 'z-loss': 'number', requests: 'requests a minute' },
  ...{
    syncers: 'processes',
    silence: 'seconds',
    'cache-gib': 'GiB',
    threads: 'threads',
    release: 'number',
    port: 'TCP port',
    'max-body': 'KiB',
    concurrent: 'sequences',
    queue: 'sequences',
    context: 'tokens',
  },
};

/** Of values that are no numbers, by what stands for them. */
const kinds: Readonly<Record<string, string>> = {
  ...{
    NAME: 'name',
    DIR: 'folder',
    FILE: 'file',
    URL: 'URL',
    URLS: 'URLs',
    PORT: 'TCP port',
    HOST: 'address',
    HASH: 'hash',
  },
  ...{
    ID: 'name',
    ADDRESS: 'address',
    TARGET: 'URL or folder',
    PLACE: 'folder or URL',
    LIST: 'names',
    NAMES: 'names',
    'DIR|URL': 'folder or URL',
    KIB: 'KiB',
  },
};

/** Read by the process, and no option. */
const variables: readonly (readonly [name: string, meaning: string, fallback: string])[] = [
  ['ACCRETE_LOG', 'level of the log: error, warn, info or debug', '`info`'],
  ['ACCRETE_CLOCK_SKEW_MS', 'the role’s clock is off by so many milliseconds; only for rehearsals', '`0`'],
  [
    'PGPASSWORD, PGPASSFILE',
    'password of `--index postgres://…`, or the file (mode 0600) that holds it',
    '`~/.pgpass`',
  ],
  ['HF_TOKEN, HF_ENDPOINT', 'the hub that releases are published to', ''],
];

export function renderConfigurationDocs(commands: readonly CommandDeclaration[]): string {
  return `${[
    '# Configuration',
    '',
    '<!-- Generated from the declarations and the schema by `node --import tsx scripts/cli-docs.ts`. Do not edit. -->',
    '',
    'A node takes each option from its flag, else from its environment variable, else from the options file, else it has its default.',
    'What all participants of a run must agree on is no option: it stands in the run’s manifest, which is signed and never changes.',
    '',
    '## Options of a node',
    '',
    '| flag | of | environment | default | unit | meaning |',
    '|---|---|---|---|---|---|',
    ...optionRows(commands),
    '',
    '| variable | meaning | default |',
    '|---|---|---|',
    ...variables.map((row) => `| ${row.join(' | ')} |`),
    '',
    '## Fields of the manifest',
    '',
    `Decimals are text. \`[]\`: for each entry of a list. \`?\`: may be absent.`,
    '',
    '| field | type and bound | meaning |',
    '|---|---|---|',
    ...manifestRows(),
  ].join('\n')}\n`;
}

/** An option that several commands declare alike is one row. */
function optionRows(commands: readonly CommandDeclaration[]): string[] {
  const rows = new Map<string, string[]>();
  const add = (option: OptionDeclaration, of: string): void => {
    const { name, description, choices } = option;
    const choice = choices === undefined ? '' : ` (${choices.join(', ')})`;
    const cells = [`\`${environmentNameOf(name)}\``, fallbackCell(option), unitOf(option), `${description}${choice}`];
    const key = JSON.stringify([flagCell(option), ...cells]);
    rows.set(key, [...(rows.get(key) ?? []), of]);
  };
  for (const name of nodeCommands)
    for (const option of commands.find((command) => command.name === name)!.options) add(option, name);
  for (const option of commonOptions) add(option, 'all');
  return [...rows].map(([key, of]) => {
    const [flag, ...cells] = (JSON.parse(key) as string[]).map(escaped);
    return `| ${flag} | ${of.join(', ')} | ${cells.join(' | ')} |`;
  });
}

export function unitOf({ name, value }: OptionDeclaration): string {
  if (value === undefined) return 'switch';
  const unit = units[name] ?? kinds[value];
  if (unit === undefined) throw new Error(`configuration-docs.ts: say the unit of --${name}`);
  return unit;
}

/** Within a table. */
const escaped = (cell: string): string => cell.replaceAll('|', '\\|');

interface Node {
  readonly type?: string;
  readonly name?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly items?: Node;
  readonly additionalProperties?: Node | boolean;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
}

const named: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  [decimalSchema, 'decimal'],
  [hashSchema, 'hash, 64 hex digits'],
  [hotkeySchema, 'hotkey, SS58'],
  [artifactRefSchema, 'artifact: root and sizeBytes'],
]);

/** Path → what it may be; alternatives (the optimisers) are put together. */
export function manifestFields(): ReadonlyMap<string, string> {
  const schema = z.toJSONSchema(manifestSchema, {
    ...{ io: 'input', unrepresentable: 'any', reused: 'inline' },
    override: ({ zodSchema, jsonSchema }) => {
      const name = named.get(zodSchema);
      if (name !== undefined) Object.assign(jsonSchema, { name });
    },
  }) as Node;
  const fields = new Map<string, Set<string>>();
  walk(schema, '', fields);
  return new Map([...fields].map(([path, types]) => [path, [...types].join(' or ')]));
}

function walk(node: Node, path: string, fields: Map<string, Set<string>>): void {
  const alternatives = node.anyOf ?? node.oneOf;
  if (alternatives !== undefined) for (const each of alternatives) walk(each, path, fields);
  else if (node.name === undefined && node.properties !== undefined)
    for (const [key, field] of Object.entries(node.properties)) {
      const own = path === '' ? key : `${path}.${key}`;
      walk(field, node.required?.includes(key) === true ? own : `${own}?`, fields);
    }
  else if (node.items?.properties !== undefined) walk(node.items, `${path}[]`, fields);
  else fields.set(path, (fields.get(path) ?? new Set()).add(typeOf(node)));
}

function typeOf(node: Node): string {
  if (node.name !== undefined) return node.name;
  if (node.const !== undefined) return `\`${String(node.const)}\``;
  if (node.type === 'boolean') return 'true or false';
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  const {
    minimum,
    maximum,
    minLength,
    maxLength,
    minItems,
    maxItems,
    pattern,
    items,
    additionalProperties: values,
  } = node;
  if (node.type === 'integer')
    return `whole number${range(minimum, maximum === Number.MAX_SAFE_INTEGER ? undefined : maximum)}`;
  if (node.type === 'array') return `list${range(minItems, maxItems)} of ${typeOf(items ?? {})}`;
  if (node.type === 'object' && typeof values === 'object') return `map from name to ${typeOf(values)}`;
  const of = pattern === undefined ? '' : `, \`${pattern}\``;
  return `text${range(minLength, maxLength)}${minLength === undefined && maxLength === undefined ? '' : ' characters'}${of}`;
}

function range(min: number | undefined, max: number | undefined): string {
  if (min === undefined && max === undefined) return '';
  if (max === undefined) return `, at least ${min}`;
  return min === undefined ? `, at most ${max}` : `, ${min} to ${max}`;
}

function manifestRows(): string[] {
  return [...manifestFields()].map(([path, type]) => {
    const meaning = manifestMeanings[path.replaceAll('?', '')];
    if (meaning === undefined) throw new Error(`manifest-meanings.ts: say what ${path} means`);
    return `| \`${path}\` | ${escaped(type)} | ${meaning} |`;
  });
}
