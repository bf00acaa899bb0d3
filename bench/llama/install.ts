/** @file Installs node-llama-cpp, which carries llama.cpp's binaries, into a folder of its own: it is no dependency. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { arch, platform } from 'node:process';

/** llama.cpp's release v0.5.0. */
const version = '3.22.1';
/** The package of binaries for each platform, as that project names them. */
const binaries: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-x64': 'mac-x64',
  'darwin-arm64': 'mac-arm64-metal',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

export interface LlamaCpp {
  readonly version: string;
  /** The module to import. */
  readonly module: string;
}

/** With a reason where there is none and none can be installed. */
export function findLlamaCpp({ install = true } = {}): LlamaCpp | { readonly missing: string } {
  const binary = binaries[`${platform}-${arch}`];
  if (binary === undefined) return { missing: `node-llama-cpp has no binaries for ${platform}-${arch}` };
  const folder = join(import.meta.dirname, '..', '..', '.accrete', 'bench', `node-llama-cpp-${version}`);
  const module = join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  const found = { version: `node-llama-cpp ${version}`, module };
  if (existsSync(module)) return found;
  if (!install)
    return { missing: 'llama.cpp is not installed; ACCRETE_LLAMA=1 node scripts/setup.mjs --test does that' };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  const packages = [`node-llama-cpp@${version}`, `@node-llama-cpp/${binary}@${version}`];
  console.log(`  installing ${packages.join(', ')}`);
  // Neither compiles nor downloads anything beyond the packages.
  const args = [
    'install',
    '--ignore-scripts',
    '--omit=optional',
    '--no-audit',
    '--no-fund',
    '--save-exact',
    ...packages,
  ];
  spawnSync('npm', args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'], shell: platform === 'win32' });
  return existsSync(module) ? found : { missing: `npm could not install ${packages.join(' and ')}` };
}
