/** @file What `accrete doctor` says about WebGPU: whether a training step runs there, and which operators fall back to the CPU. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Finding } from './finding.ts';

const name = 'webgpu';
/** Programs for the GPU are compiled in it: seconds on a GPU; SwiftShader on two busy cores took two minutes. */
const probeMs = 240_000;

const counts = z.record(z.string(), z.number());
const placementSchema = z.object({ onDevice: counts, onCpu: counts });

/** Runs the probe in a process of its own, which a driver may end. A GPU is a choice, so nothing here is `missing`. */
export function checkWebgpu(): Finding {
  const [probe, loader] = ['webgpu-probe.ts', '../../util/register-typescript.mjs'].map((file) =>
    fileURLToPath(new URL(file, import.meta.url)),
  ) as [string, string];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--import', loader, probe], {
    cwd: fileURLToPath(new URL('../../../', import.meta.url)),
    encoding: 'utf8',
    timeout: probeMs,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 24,
  });
  if (status === 3) return noAdapter(stderr ?? '');
  if (status === 0) return working(stdout);
  const words = stderr?.trim().split('\n').at(-1) ?? '';
  const how =
    signal === null ? '' : ` (ended by ${signal}${signal === 'SIGKILL' ? `, after ${probeMs / 1000} s` : ''})`;
  return {
    name,
    state: 'warning',
    found: `a training step of preset tiny fails there${how}${words === '' ? '' : `: ${words.slice(0, 200)}`}`,
    advice: 'keep to --device cpu',
  };
}

function noAdapter(words: string): Finding {
  const missing = words.includes('libvulkan.so.1') ? ', for the Vulkan loader is not installed' : '';
  const advice = process.platform === 'linux' ? "to use a GPU: install libvulkan1 and the GPU's Vulkan driver" : '';
  return { name, state: 'ok', found: `no adapter${missing}; everything runs on the CPU`, advice };
}

function working(stdout: string): Finding {
  const { onDevice, onCpu } = placementSchema.parse(JSON.parse(stdout));
  const sum = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((a, b) => a + b, 0);
  const fallbacks = Object.entries(onCpu)
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .map(([op, count]) => `${op} ${count}`);
  const all = sum(onDevice) + sum(onCpu);
  return {
    name,
    state: 'ok',
    found: `--device webgpu runs ${sum(onDevice)} of ${all} operators of a training step (tiny); on the CPU: ${fallbacks.join(', ')}`,
    advice: '',
  };
}
