/**
 * @file Runs a graph on ONNX Runtime, native or as WebAssembly; the only file that imports it, and not before a session is
 * opened (the library takes half a second to load). A run occupies the thread that asked for it: it is synchronous inside.
 */
import { createRequire } from 'node:module';
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { dtypeOfArray } from '../tensor/dtype.ts';
import { formatShape, isStatic, sizeOfShape } from '../tensor/shape.ts';
import { type TensorView, zeros } from '../tensor/view.ts';
import { toHex } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';
import { nodeSha256 } from '../util/node-sha256.ts';
import type { Device } from './device.ts';
import { EngineError } from './errors.ts';
import { checkFeeds } from './feeds.ts';
import type { Graph } from './graph.ts';
import { cutView, fedParts, joinViews, partName, partNames, partsOf } from './parts.ts';

export interface SessionOptions {
  /** Threads inside one operator on the CPU; default 1. On `wasm` always 1. */
  readonly threads?: number;
  /** Default `cpu`. */
  readonly device?: Device;
  /**
   * Feeds that no run will change: the session takes a copy, and they are not fed. A fed tensor costs about 4 us a run, and
   * the runtime arranges constants for its products once. For small models: together below 2^31 bytes.
   */
  readonly constants?: Feeds;
  /** Writes a profile of every operator to files that begin with this path. */
  readonly profilePrefix?: string;
}

export type Feeds = Readonly<Record<string, TensorView>>;

export interface Session {
  /**
   * Computes the outputs named by `fetch` (all by default). Feeds are read in place. Fetched arrays are fresh, and cost
   * a copy each; with `into` (outputs of known shapes only) nothing is copied, and what it names is written there.
   * @throws EngineError MISSING_FEED, UNKNOWN_FEED, FEED_MISMATCH, UNKNOWN_OUTPUT, SESSION_CLOSED, SESSION_FAILED
   */
  run(feeds: Feeds, fetch?: readonly string[], into?: Feeds): Promise<Record<string, TensorView>>;
  release(): Promise<void>;
}

const ortType: { readonly [D in DType]: 'float32' | 'float64' | 'int64' | 'int32' | 'bool' } = {
  f32: 'float32',
  f64: 'float64',
  i64: 'int64',
  i32: 'int32',
  bool: 'bool',
};

/** Sessions being opened and runs under way in this process: a virtual clock stands still while there are any. */
export const engineActivity = { pending: 0 };

async function counted<T>(work: Promise<T>): Promise<T> {
  engineActivity.pending++;
  try {
    return await work;
  } finally {
    engineActivity.pending--;
  }
}

/** @throws EngineError SESSION_FAILED where the runtime is not installed or refuses the graph; NO_DEVICE */
export async function openSession(graph: Graph, options: SessionOptions = {}): Promise<Session> {
  const session = await counted(open(graph, options));
  return {
    run: (feeds, fetch, into) => counted(session.run(feeds, fetch, into)),
    release: () => counted(session.release()),
  };
}

async function open(graph: Graph, options: SessionOptions): Promise<Session> {
  const { emitFor, onnxInputName, onnxOutputName, stopOutputName } = await import('./onnx.ts');
  const device = options.device ?? 'cpu';
  const ort = loadRuntime(device);
  const constants = options.constants ?? {};
  const fed = {
    declared: graph.declared,
    inputs: new Map([...graph.inputs].filter(([name]) => constants[name] === undefined)),
  };
  const fixed = new Map([...graph.inputs].filter(([name]) => constants[name] !== undefined));
  checkFeeds({ declared: graph.declared, inputs: fixed }, constants);
  const parts = fedParts(partsOf(graph), constants);
  const pieces = (name: string, view: TensorView, isCut: boolean, keepAxis: boolean): [string, OrtTensor][] => {
    const views = isCut ? cutView(view, keepAxis) : [view];
    return views.map(({ dtype, shape, data }, i) => [
      isCut ? partName(name, i) : name,
      new ort.Tensor(ortType[dtype], data as Float32Array, shape) as OrtTensor,
    ]);
  };
  let held: HeldSession | null;
  try {
    const { model, cpuNodes } = emitFor(graph, device, constants);
    const create = (): Promise<InferenceSession> =>
      ort.InferenceSession.create(model, runtimeOptions(options, cpuNodes));
    const isShared = isSharing && options.profilePrefix === undefined;
    held = isShared
      ? await holdShared([device, options.threads, toHex(nodeSha256(model))].join(), create)
      : await holdOwn(create);
  } catch (cause) {
    throw refusal(cause, device);
  }
  const isInPlace = device !== 'wasm';
  return {
    async run(feeds, fetch = [...graph.outputs.keys()], into) {
      if (held === null) throw new EngineError('SESSION_CLOSED', 'the session was released; open another');
      const { session } = held;
      checkFeeds(fed, feeds);
      for (const name of fetch)
        if (!graph.outputs.has(name))
          throw new EngineError(
            'UNKNOWN_OUTPUT',
            `no output ${name}; there are ${[...graph.outputs.keys()].join(', ')}`,
          );
      const inputs = Object.fromEntries(
        [...fed.inputs.keys()].flatMap((name) =>
          pieces(onnxInputName(name), feeds[name]!, parts.inputs.has(name), true),
        ),
      );
      if (into !== undefined && isInPlace) {
        const targets = fetch.map((name) => [name, into[name] ?? zeroesFor(name, graph)] as const);
        const fetches = targets.flatMap(([name, view]) =>
          pieces(onnxOutputName(name), view, parts.outputs.has(name), false),
        );
        await runUncopied(session, inputs, { [stopOutputName]: null, ...Object.fromEntries(fetches) });
        return Object.fromEntries(targets);
      }
      try {
        const countOf = (name: string) => (parts.outputs.has(name) ? Number(graph.outputs.get(name)!.shape[0]) : null);
        const results = await session.run(
          inputs,
          fetch.flatMap((name) => partNames(onnxOutputName(name), countOf(name))),
        );
        const resultOf = (name: string): TensorView => {
          const count = countOf(name);
          const views = partNames(onnxOutputName(name), count).map((part) => toView(results[part]!));
          const view = count === null ? views[0]! : joinViews(views);
          const target = into?.[name];
          return target === undefined ? view : copyInto(target, view);
        };
        return Object.fromEntries(fetch.map((name) => [name, resultOf(name)]));
      } catch (cause) {
        throw new EngineError('SESSION_FAILED', `a run failed: ${String(cause)}`, { cause });
      }
    },
    async release() {
      const closing = held;
      held = null;
      await closing?.release();
    },
  };
}

interface HeldSession {
  readonly session: InferenceSession;
  release(): Promise<void>;
}

async function holdOwn(create: () => Promise<InferenceSession>): Promise<HeldSession> {
  const session = await create();
  return { session, release: () => session.release() };
}

let isSharing = false;
/** By what they were opened from. */
const shared = new Map<string, { readonly opening: Promise<InferenceSession>; users: number }>();

/**
 * From here on, or no more, this process has one session for all that open the same graph alike, until the last of them releases it: for who
 * simulates many machines, of which each opens the same. A session keeps nothing from one run to the next.
 */
export function shareSessions(isOn: boolean): void {
  isSharing = isOn;
}

async function holdShared(key: string, create: () => Promise<InferenceSession>): Promise<HeldSession> {
  const entry = shared.get(key) ?? { opening: create(), users: 0 };
  shared.set(key, entry);
  entry.users++;
  const leave = async (): Promise<void> => {
    if (--entry.users > 0) return;
    shared.delete(key);
    await (await entry.opening).release();
  };
  try {
    return { session: await entry.opening, release: leave };
  } catch (cause) {
    shared.delete(key);
    throw cause;
  }
}

function refusal(cause: unknown, device: Device = 'cpu'): EngineError {
  const text = String(cause);
  if (device === 'webgpu' && /WebGPU adapter|no available backend|not supported|not available/i.test(text))
    return new EngineError('NO_DEVICE', noAdapter, { cause });
  return new EngineError('SESSION_FAILED', `ONNX Runtime refuses the graph: ${text}`, { cause });
}

const noAdapter =
  'the device webgpu was asked for, but ONNX Runtime finds no WebGPU adapter here; ' +
  'use the device cpu, or install a driver (on Linux libvulkan1 and one for Vulkan) and look with accrete doctor';

/** A fresh array for an output of known shape. */
function zeroesFor(name: string, graph: Graph): TensorView {
  const { shape, dtype } = graph.outputs.get(name)!;
  assert(isStatic(shape), `output ${name} is computed in place, but its shape ${formatShape(shape)} is not known`);
  return zeros(dtype, shape);
}

/** WebAssembly has a memory of its own, so that results are copied out of it in any case. */
function copyInto(target: TensorView, { data, shape }: TensorView): TensorView {
  assert(
    target.data.length === data.length,
    `expected room for ${formatShape(shape)}, got ${formatShape(target.shape)}`,
  );
  (target.data as { set(values: unknown): void }).set(data);
  return target;
}

/**
 * The binding copies what it returns, arrays that were given for it too: 60 of 1050 ms a step (29M gradients, 1 thread).
 * `fetches` therefore begins with an output at which it fails when everything has been written; a binding that learns to
 * return it does no harm.
 */
async function runUncopied(
  session: InferenceSession,
  inputs: Readonly<Record<string, OrtTensor>>,
  fetches: Readonly<Record<string, OrtTensor | null>>,
): Promise<void> {
  try {
    await session.run(inputs, fetches);
  } catch (cause) {
    if (cause instanceof Error && cause.message.startsWith('Non tensor type')) return;
    throw new EngineError('SESSION_FAILED', `a run failed: ${String(cause)}`, { cause });
  }
}

/**
 * Rewrites of the runtime for operators that no graph here has (quantised ones, convolutions, the error function, whole attentions,
 * dropout, float16): each walks the whole graph, twice or more, to find nothing. Without them the graph that is run is the same to
 * the byte, and a session opens in three quarters of the time.
 * An operator of one of these kinds that a graph gets has its rewrites taken out of the list.
 */
const idleRewrites = [
  ...[
    'EnsureUniqueDQForNodeUnit',
    'DoubleQDQPairsRemover',
    'QDQPropagationTransformer',
    'QDQSelectorActionTransformer',
  ],
  ...['QDQS8ToU8Transformer', 'QDQFinalCleanupTransformer', 'WeightBiasQuantization', 'WhereDummyDq'],
  ...['MatMulIntegerToFloatFusion', 'DynamicQuantizeMatMulFusion', 'MatMulNBitsFusion'],
  ...['ConvActivationFusion', 'ConvAddActivationFusion', 'NchwcTransformer', 'NhwcTransformer'],
  ...['SliceConcatToSpaceToDepthFusion', 'GeluFusionL1', 'GeluFusionL2', 'BiasGeluFusion', 'FastGeluFusion'],
  ...['AttentionFusion', 'EmbedLayerNormFusion', 'GroupQueryAttentionFusion', 'GroupQueryAttentionPreNormFusion'],
  ...['BiasDropoutFusion', 'CastFloat16Transformer', 'FuseFp16InitializerToFp32NodeTransformer'],
];

type Runtime = typeof import('onnxruntime-node');

/** Both packages have the interface of onnxruntime-common. */
function loadRuntime(device: Device): Runtime {
  const name = device === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node';
  try {
    const runtime = createRequire(import.meta.url)(name) as Runtime;
    // Of the process, and read when the first session is opened; more threads would be another class of machine.
    if (device === 'wasm') runtime.env.wasm.numThreads = 1;
    return runtime;
  } catch (cause) {
    throw new EngineError('SESSION_FAILED', `${name} cannot be loaded; run npm start once`, { cause });
  }
}

/** Loads the runtime and gives its version. @throws EngineError SESSION_FAILED */
export const engineVersion = (device: Device = 'cpu'): string => {
  const { node, web } = loadRuntime(device).env.versions;
  return (device === 'wasm' ? web : node) ?? 'unknown';
};

function runtimeOptions(
  { threads = 1, device = 'cpu', profilePrefix }: SessionOptions,
  cpuNodes: readonly string[],
): InferenceSession.SessionOptions {
  return {
    executionProviders:
      device === 'cpu' || device === 'wasm'
        ? [device]
        : [cpuNodes.length === 0 ? device : { name: device, forceCpuNodeNames: cpuNodes }, 'cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // One planned block for a whole run comes on top of what the first run took: 1143 instead of 711 MB (nano, 2048
    // tokens), and no faster.
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: {
      // Threads wait for the next operator at full speed, but not long: without, nano's step takes 94 instead of 77 ms on two
      // threads; without an end, a process that waits for another one would take its core.
      'session.intra_op.allow_spinning': threads > 1 ? '1' : '0',
      'session.intra_op.spin_duration_us': '100',
      // Set, the first session of a process makes its thread flush subnormals in all arithmetic, JavaScript's too: merges and
      // checks would depend on whether the process has a session. Without it `tiny` trains as fast (36.5 and 36.6 ms a step).
      'session.set_denormal_as_zero': '0',
      ...(device === 'cpu' ? { 'optimization.disable_specified_optimizers': idleRewrites.join(';') } : {}),
    },
    ...(profilePrefix === undefined ? {} : { enableProfiling: true, profileFilePrefix: profilePrefix }),
  };
}

function toView(tensor: OrtTensor): TensorView {
  const data = tensor.data as TypedArray;
  if (data.length !== sizeOfShape(tensor.dims))
    throw new EngineError(
      'SESSION_FAILED',
      `the runtime returned ${data.length} elements for ${formatShape(tensor.dims)}`,
    );
  return { dtype: dtypeOfArray(data), shape: tensor.dims, data } as TensorView;
}
