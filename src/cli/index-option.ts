/** @file The option that says where the index lies; a declaration only, so that help stays quick. */
import type { OptionDeclaration } from './command.ts';

export const indexOption: OptionDeclaration = {
  name: 'index',
  value: 'URL',
  description:
    "where the journal's index is kept: sqlite (a file of the folder), or postgres://USER@HOST/DATABASE?schema=NAME with the password in PGPASSWORD or PGPASSFILE",
  default: 'sqlite',
};
