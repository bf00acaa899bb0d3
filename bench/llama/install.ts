/**
 * @file Installs node-llama-cpp, which carries llama.cpp's binaries, into a folder of its own: it is no dependency
 * (docs/decisions/0022). Versions and hashes of its packages are pinned in scripts/llama/package-lock.json.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { arch, platform } from 'node:process';

const root = join(import.meta.dirname, '..', '..');
const pinned = join(root, 'scripts', 'llama');

/** The package of CPU binaries for each platform, as that project names them. */
const binaries: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-x64': 'mac-x64',
  'darwin-arm64': 'mac-arm64-metal',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};
const installLimitMs = 600_000;

export interface LlamaCpp {
  readonly version: string;
  /** The module to import. */
  readonly module: string;
}

/** With a reason where there is none and none can be installed. */
export function findLlamaCpp({ install = true } = {}): LlamaCpp | { readonly missing: string } {
  const binary = binaries[`${platform}-${arch}`];
  if (binary === undefined) return { missing: `node-llama-cpp has no binaries for ${platform}-${arch}` };
  const version = pinnedVersion();
  const parent = join(root, '.accrete', 'bench');
  const folder = join(parent, `node-llama-cpp-${version}`);
  const found = { version: `node-llama-cpp ${version}`, module: join(folder, modulePath) };
  if (existsSync(found.module)) return found;
  if (!install) return { missing: 'llama.cpp is not installed; node scripts/setup.mjs --test does that' };
  // Under another name until it is whole: an install that was cut short is none.
  const partial = join(parent, `.node-llama-cpp-${process.pid}`);
  try {
    const words = installInto(partial, `@node-llama-cpp/${binary}@${version}`);
    if (words !== null) return { missing: `npm could not install node-llama-cpp ${version}: ${words}` };
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
    return found;
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

const modulePath = join('node_modules', 'node-llama-cpp', 'dist', 'index.js');

function pinnedVersion(): string {
  const { dependencies } = JSON.parse(readFileSync(join(pinned, 'package.json'), 'utf8'));
  return dependencies['node-llama-cpp'];
}

/** Null, or npm's last words. Neither compiles nor downloads anything beyond the packages, and of those with binaries only `binary`. */
function installInto(folder: string, binary: string): string | null {
  mkdirSync(folder, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(pinned, name), join(folder, name));
  const quiet = ['--no-audit', '--no-fund', '--no-progress'];
  const { error, status, stderr } = spawnSync(
    'npm',
    ['install', '--no-save', '--ignore-scripts', '--omit=optional', ...quiet, binary],
    {
      ...{ cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: installLimitMs },
      shell: platform === 'win32',
    },
  );
  if (error !== undefined) return error.message;
  if (status !== 0) return stderr.trim().split('\n').slice(0, 3).join(' ') || `exit code ${status}`;
  return existsSync(join(folder, modulePath)) ? null : 'its module is not where it was';
}
