/**
 * @file Classes of machines: inside one, the same steps give the same bits. The name holds what the engine's results
 * depend on and no more: which vector units it picks its kernels by, the C library that it takes functions from, its own
 * version, its threads. WebAssembly has all of that in itself, so that every machine is of one class there.
 */
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, release } from 'node:os';
import type { Device } from '../../engine/device.ts';
import { engineVersion } from '../../engine/session.ts';
import { hashOfText } from '../../protocol/hash.ts';

export interface MachineTraits {
  readonly device: Device;
  readonly engineVersion: string;
  /** Inside one operator: they cut its sums. */
  readonly threads: number;
  /** `x64`, `arm64`. */
  readonly arch: string;
  /** Flags of the processor in lower case; null where the system does not tell. */
  readonly flags: ReadonlySet<string> | null;
  /** Model of the processor, in the place of flags. */
  readonly model: string;
  /** Of the mathematical functions: `glibc2.36`, `darwin24`. */
  readonly library: string;
}

/** At most 64 characters. */
export function nameMachineClass(traits: MachineTraits): string {
  const { device, engineVersion: engine, threads, arch: kind, library } = traits;
  if (device === 'wasm') return `wasm/ort${engine}/t1`;
  return `${device === 'cpu' ? '' : `${device}-`}${kind}-${unitsOf(traits)}-${library}/ort${engine}/t${threads}`.slice(
    0,
    64,
  );
}

/** Nothing promises that two GPUs, or one after a driver's update, round alike. */
export const isSameMachineClass = (a: string, b: string): boolean => a === b && a !== '' && !a.startsWith('webgpu');

/** The class of this machine. @throws EngineError SESSION_FAILED where the engine is not installed */
export function machineClassOf(options: { readonly threads: number; readonly device?: Device }): string {
  const { threads, device = 'cpu' } = options;
  return nameMachineClass({
    ...{ device, threads, engineVersion: engineVersion(device === 'webgpu' ? 'cpu' : device) },
    ...{ arch: arch(), flags: readFlags(), model: cpus()[0]?.model ?? 'unknown', library: libraryName() },
  });
}

/** The engine's float32 kernels on x64 come in these kinds. */
function unitsOf({ arch: kind, flags, model }: MachineTraits): string {
  if (flags === null) return hashOfText(model).slice(0, 8);
  if (kind !== 'x64') return 'simd';
  const has = (...names: readonly string[]): boolean => names.every((name) => flags.has(name));
  if (has('avx512f', 'avx512dq', 'avx512bw', 'avx512vl')) return 'avx512';
  if (has('avx2', 'fma')) return 'avx2';
  return has('avx') ? 'avx' : 'sse';
}

function readFlags(): ReadonlySet<string> | null {
  if (platform() !== 'linux') return null;
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
    return line === undefined ? null : new Set(line.trim().toLowerCase().split(/\s+/));
  } catch {
    return null; // no such file in some sandboxes: the model stands in
  }
}

function libraryName(): string {
  if (platform() !== 'linux') return `${platform()}${release().split('.')[0]}`;
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? 'musl' : `glibc${header.glibcVersionRuntime}`;
}
