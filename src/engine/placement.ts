/** @file Which operators ran on which device, read from the profile that ONNX Runtime writes. Does file I/O. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import type { Graph } from './graph.ts';
import { type Feeds, openSession } from './session.ts';

/** Runs of each operator: type → count. Copies between the devices do not count. */
export interface Placement {
  readonly onDevice: Readonly<Record<string, number>>;
  readonly onCpu: Readonly<Record<string, number>>;
}

const maxProfileBytes = 1 << 28;
const profileSchema = z.array(
  z.looseObject({
    cat: z.string().optional(),
    args: z.looseObject({ provider: z.string().optional(), op_name: z.string().optional() }).optional(),
  }),
);

/** Runs the graph once on the device. @throws EngineError NO_DEVICE, SESSION_FAILED */
export async function observePlacement(graph: Graph, feeds: Feeds, device: Device): Promise<Placement> {
  const folder = mkdtempSync(join(tmpdir(), 'accrete-profile-'));
  try {
    const session = await openSession(graph, { device, profilePrefix: join(folder, 'profile') });
    try {
      await session.run(feeds);
    } finally {
      await session.release();
    }
    return readProfile(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readProfile(folder: string): Placement {
  const file = join(folder, readdirSync(folder)[0] ?? 'none');
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size === 0 || size > maxProfileBytes)
    throw new EngineError('SESSION_FAILED', `ONNX Runtime left a profile of ${size} bytes in ${folder}`);
  const events = profileSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  const onDevice: Record<string, number> = {};
  const onCpu: Record<string, number> = {};
  for (const { cat, args } of events) {
    const { provider = '', op_name: op = '' } = args ?? {};
    if (cat !== 'Node' || provider === '' || op.startsWith('Memcpy')) continue;
    const counts = provider === 'CPUExecutionProvider' ? onCpu : onDevice;
    counts[op] = (counts[op] ?? 0) + 1;
  }
  return { onDevice, onCpu };
}
