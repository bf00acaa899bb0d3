/**
 * @file The program `accrete`: builds the parser from the declarations, runs one command, gives the exit code.
 * Its import graph is kept tiny (measured: `accrete --help` in about 0.3 s); handlers are loaded when they run.
 */
import { Command, CommanderError, Option } from 'commander';
import { UsageError } from '../util/errors.ts';
import { type CommandDeclaration, commonOptions, environmentNameOf, type OptionDeclaration } from './command.ts';
import { commands } from './commands.ts';
import { explainFailure } from './failure.ts';
import { type Io, processIo } from './io.ts';
import { resolveSettings } from './precedence.ts';

const version = '0.1.0';

/** Runs the command that `argv` (without node and script) names. Never throws. */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const chosen: { run: (() => Promise<number>) | null } = { run: null };
  const program = buildProgram(io, (run) => {
    chosen.run = run;
  });
  try {
    if (argv.length === 0) {
      io.out(program.helpInformation());
      return 0;
    }
    await program.parseAsync([...argv], { from: 'user' });
    if (chosen.run === null) return 0;
    const [{ hashWith }, { nodePlatformSha256 }] = await Promise.all([
      import('../protocol/hash.ts'),
      import('../util/node-sha256.ts'),
    ]);
    hashWith(nodePlatformSha256);
    return await chosen.run();
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    return report(error instanceof CommanderError ? usageOf(error, program, argv) : error, argv, io);
  }
}

function buildProgram(io: Io, choose: (run: () => Promise<number>) => void): Command {
  const program = new Command('accrete')
    .description('Trains one language model with the computers of many, and keeps a record that anybody can recompute.')
    .version(version, '--version', 'print the version')
    .helpOption('--help', 'show this help')
    .helpCommand(false)
    // Options belong to the word that they follow: `eval` and `eval needle` share names of options.
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nStart here: ./bin/accrete up   (or: npm start)\nEvery command has --help with an example.',
    );
  const groups = new Map<string, Command>();
  for (const declaration of commands) {
    const words = declaration.name.split(' ');
    const parent = words.length === 1 ? program : groupOf(program, groups, words[0]!);
    const command = buildCommand(declaration, words.at(-1)!, io, choose);
    parent.addCommand(command);
    // A command may be a group, too.
    if (words.length === 1) groups.set(words[0]!, command.enablePositionalOptions());
  }
  forEachCommand(program, (command) => {
    command.exitOverride().configureOutput({ writeOut: (text) => io.out(text.trimEnd()), outputError: () => {} });
  });
  return program;
}

function groupOf(program: Command, groups: Map<string, Command>, name: string): Command {
  const known = groups.get(name);
  if (known !== undefined) return known;
  const members = commands.filter((c) => c.name.startsWith(`${name} `)).map((c) => c.name.split(' ')[1]!);
  const group = new Command(name).description(`${members.join(', ')}: see accrete ${name} --help`).helpCommand(false);
  group.helpOption('--help', 'show this help');
  group.action(() => {
    throw new UsageError(
      `accrete ${name}: expected one of ${members.join(', ')}; for example: ./bin/accrete ${name} ${members[0]} --help`,
    );
  });
  groups.set(name, group);
  program.addCommand(group);
  return group;
}

function buildCommand(
  declaration: CommandDeclaration,
  name: string,
  io: Io,
  choose: (run: () => Promise<number>) => void,
): Command {
  const command = new Command(name).description(declaration.description).helpOption('--help', 'show this help');
  if (declaration.argument) command.argument(`<${declaration.argument.name}>`, declaration.argument.description);
  const second = declaration.secondArgument;
  if (second) command.argument(`<${second.name}>`, second.description);
  for (const option of [...declaration.options, ...commonOptions]) command.addOption(buildOption(option));
  command.addHelpText('after', `\nExample:\n  ${declaration.example}`);
  command.action((...given: unknown[]) => {
    const argument = declaration.argument ? String(given[0]) : null;
    const flags = byOptionName(declaration, command.opts());
    choose(async () => {
      const settings = resolveSettings(declaration, flags, io, argument, second ? String(given[1]) : null);
      const { handle } = await declaration.load();
      return handle(settings, io);
    });
  });
  return command;
}

/** Defaults are only shown here; `settings.ts` applies them after the environment and the options file. */
function buildOption(option: OptionDeclaration): Option {
  const details = [
    option.choices ? `one of ${option.choices.join(', ')}` : null,
    option.default === undefined ? null : `default: ${option.default}`,
    option.required ? 'required' : null,
    `env: ${environmentNameOf(option.name)}`,
  ].filter((detail) => detail !== null);
  const flags = option.value === undefined ? `--${option.name}` : `--${option.name} <${option.value}>`;
  return new Option(flags, `${option.description} (${details.join('; ')})`);
}

function byOptionName(
  declaration: CommandDeclaration,
  parsed: Readonly<Record<string, unknown>>,
): Record<string, string | boolean> {
  const flags: Record<string, string | boolean> = {};
  for (const { name } of [...declaration.options, ...commonOptions]) {
    const value = parsed[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string' || typeof value === 'boolean') flags[name] = value;
  }
  return flags;
}

function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) forEachCommand(child, visit);
}

/** commander's message, with what to do. */
function usageOf(error: CommanderError, program: Command, argv: readonly string[]): UsageError {
  const message = error.message.replace(/^error: /, '').replace(/\n\(Did you mean (.*)\?\)$/s, ' (did you mean $1?)');
  let command = program;
  for (const word of argv) {
    const next = command.commands.find((child) => child.name() === word);
    if (next === undefined) break;
    command = next;
  }
  const path = [];
  for (let c: Command | null = command; c !== null; c = c.parent) path.unshift(c.name());
  const full = path.join(' ');
  const expected =
    error.code === 'commander.unknownOption'
      ? `; it takes ${command.options.map((option) => option.long).join(', ')}`
      : error.code === 'commander.unknownCommand'
        ? `; expected one of ${command.commands.map((child) => child.name()).join(', ')}`
        : '';
  return new UsageError(`${full}: ${message}${expected}; type: ./bin/${full} --help`);
}

function report(error: unknown, argv: readonly string[], io: Io): number {
  const failure = explainFailure(error);
  if (argv.includes('--json')) {
    io.err(JSON.stringify({ error: { code: failure.code, sentence: failure.sentence } }));
  } else {
    const sentence = failure.sentence.replace(/^accrete[ :]+/, '');
    io.err(`accrete: ${sentence}${failure.exitCode === 1 && failure.code !== 'INTERNAL' ? ` [${failure.code}]` : ''}`);
    if (failure.stack !== null) io.err(failure.stack);
  }
  return failure.exitCode;
}
