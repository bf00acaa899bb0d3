/** @file Writes docs/cli.md from the commands' declarations. */
import { writeFileSync } from 'node:fs';
import { commands } from '../src/cli/commands.ts';
import { renderCliDocs } from '../src/cli/docs.ts';

writeFileSync(new URL('../docs/cli.md', import.meta.url), renderCliDocs(commands));
