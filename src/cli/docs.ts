/** @file Renders `docs/cli.md` from the declarations; a test fails when the file is stale. */
import { type CommandDeclaration, commonOptions, environmentNameOf, type OptionDeclaration } from './command.ts';

export function renderCliDocs(commands: readonly CommandDeclaration[]): string {
  const parts = [
    '# The command line',
    '',
    '<!-- Generated from src/cli/*/index.ts by `node --import tsx scripts/cli-docs.ts`. Do not edit. -->',
    '',
    '`./bin/accrete COMMAND [options]`. An option is taken from its flag, else from its environment variable, else from the',
    'options file (`accrete.json` in the current folder, or `--options FILE`), else it has its default. Results go to standard',
    'output, progress and faults to standard error. Exit code 0: done; 1: a failure, with its code; 2: a mistake in what was',
    'typed, with what to type instead.',
    '',
    'Every command takes:',
    '',
    ...optionTable(commonOptions),
    '',
  ];
  for (const command of commands) parts.push(...commandSection(command));
  return `${parts.join('\n').trimEnd()}\n`;
}

function commandSection(command: CommandDeclaration): string[] {
  const given = [command.argument, command.secondArgument].filter((each) => each !== undefined);
  const argument = given.map(({ name }) => ` ${name}`).join('');
  const about = given.flatMap(({ name, description }) => [`\`${name}\`: ${description}.`, '']);
  const options = command.options.length === 0 ? [] : [...optionTable(command.options), ''];
  return [
    `## accrete ${command.name}${argument}`,
    '',
    command.description,
    '',
    ...about,
    ...options,
    '```sh',
    command.example,
    '```',
    '',
  ];
}

function optionTable(options: readonly OptionDeclaration[]): string[] {
  const rows = options.map((option) => {
    const flag = `\`--${option.name}${option.value === undefined ? '' : ` ${option.value}`}\``;
    const choices = option.choices === undefined ? '' : ` (${option.choices.join(', ')})`;
    const fallback = option.required ? 'required' : option.default === undefined ? '' : `\`${option.default}\``;
    return `| ${flag} | ${option.description}${choices} | ${fallback} | \`${environmentNameOf(option.name)}\` |`;
  });
  return ['| option | meaning | default | environment |', '|---|---|---|---|', ...rows];
}
