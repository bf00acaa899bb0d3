/** @file Writes docs/cli.md and docs/configuration.md from the commands' declarations and the manifest's schema. */
import { writeFileSync } from 'node:fs';
import { commands } from '../src/cli/commands.ts';
import { renderConfigurationDocs } from '../src/cli/configuration-docs.ts';
import { renderCliDocs } from '../src/cli/docs.ts';

writeFileSync(new URL('../docs/cli.md', import.meta.url), renderCliDocs(commands));
writeFileSync(new URL('../docs/configuration.md', import.meta.url), renderConfigurationDocs(commands));
