/** @file Finds a Python with PyTorch and a BLAS that respects the thread count; installs Debian's packages where that is possible. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Debian's default BLAS for PyTorch runs twice as many threads as asked for; the OpenMP build does not. */
const packages = ['python3-torch', 'python3-numpy', 'libopenblas0-openmp'];

export interface Torch {
  readonly python: string;
  readonly version: string;
  /** What the process needs for speed: the OpenMP BLAS, and a heap that keeps freed memory. */
  environment(threads: number): Record<string, string>;
}

/** Null, with a reason, where there is none and none can be installed. */
export function findTorch(): Torch | { readonly missing: string } {
  const found = probe();
  if (found !== null && openmpBlas() !== null) return found;
  if (process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    console.log(`  installing ${packages.join(', ')}`);
    // Fails only in what is found afterwards.
    spawnSync('apt-get', ['update'], { stdio: 'ignore' });
    spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { stdio: 'ignore' });
  }
  return probe() ?? { missing: `install PyTorch (on Debian as root: apt-get install ${packages.join(' ')})` };
}

function probe(): Torch | null {
  for (const python of ['/usr/bin/python3', 'python3']) {
    const { status, stdout } = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], {
      encoding: 'utf8',
    });
    if (status === 0) return { python, version: stdout.trim(), environment };
  }
  return null;
}

function environment(threads: number): Record<string, string> {
  const blas = openmpBlas();
  return {
    OMP_NUM_THREADS: String(threads),
    OPENBLAS_NUM_THREADS: String(threads),
    MALLOC_MMAP_THRESHOLD_: '1073741824',
    MALLOC_TRIM_THRESHOLD_: '1073741824',
    ...(blas === null ? {} : { LD_LIBRARY_PATH: blas }),
  };
}

function openmpBlas(): string | null {
  if (!existsSync('/usr/lib')) return null;
  const folders = readdirSync('/usr/lib').map((arch) => join('/usr/lib', arch, 'openblas-openmp'));
  return folders.find((folder) => existsSync(folder)) ?? null;
}
