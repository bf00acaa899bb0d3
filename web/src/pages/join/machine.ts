/** @file What a page can find out about the machine it runs on, and what it cannot: browsers round and hide on purpose. */

export interface MachineFacts {
  /** Threads that the browser tells; some browsers tell fewer. */
  readonly threads: number | null;
  /** GiB, rounded down by the browser to at most 8; null where it is not told. */
  readonly memoryGib: number | null;
  /** Null: not asked yet; `none`: no adapter. */
  readonly webgpu: string | null;
  readonly freeBytes: number | null;
}

interface Gpu {
  requestAdapter(): Promise<{ readonly info?: { readonly vendor?: string; readonly architecture?: string } } | null>;
}
type Told = Navigator & { readonly deviceMemory?: number; readonly gpu?: Gpu };

/** The largest that a browser tells. */
export const memoryCapGib = 8;

export async function readMachine(): Promise<MachineFacts> {
  const told = navigator as Told;
  return {
    threads: told.hardwareConcurrency ?? null,
    memoryGib: told.deviceMemory ?? null,
    webgpu: await adapterName(told.gpu),
    freeBytes: await freeSpace(),
  };
}

async function adapterName(gpu: Gpu | undefined): Promise<string> {
  if (gpu === undefined) return 'none';
  try {
    const adapter = await gpu.requestAdapter();
    if (adapter === null) return 'none';
    return [adapter.info?.vendor, adapter.info?.architecture].filter(Boolean).join(' ') || 'an adapter without a name';
  } catch {
    return 'none';
  }
}

/** What the browser would give to pages: a part of what is free. */
async function freeSpace(): Promise<number | null> {
  try {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined ? null : quota - (usage ?? 0);
  } catch {
    return null;
  }
}
