/** @file Imported first by a process or thread of the program: from here on it imports our TypeScript sources directly. */
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
register('./typescript-hooks.mjs', import.meta.url);
