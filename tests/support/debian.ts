/** @file Programs of Debian packages that some tests run: `scripts/debian-packages.json` lists them, `npm test` installs them. */
import { existsSync } from 'node:fs';
import table from '../../scripts/debian-packages.json' with { type: 'json' };

export interface DebianProgram {
  readonly isThere: boolean;
  /** The file that shows it. */
  readonly file: string;
  /** For a test's title, so that who reads `skipped` reads why. */
  readonly need: string;
}

export function debianProgram(name: keyof typeof table): DebianProgram {
  const { packages, file } = table[name];
  return { isThere: existsSync(file), file, need: `needs the Debian packages ${packages.join(', ')}` };
}
