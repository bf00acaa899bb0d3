/**
 * @file Runs a graph on ONNX Runtime; the only file that imports it, and not before a session is opened (the library
 * takes half a second to load). A run occupies the thread that asked for it: it is synchronous inside.
 */
import { createRequire } from 'node:module';
import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { DType, TypedArray } from '../tensor/dtype.ts';
import { dtypeOfArray } from '../tensor/dtype.ts';
import { formatShape, sizeOfShape } from '../tensor/shape.ts';
import type { TensorView } from '../tensor/view.ts';
import { EngineError } from './errors.ts';
import { checkFeeds } from './feeds.ts';
import type { Graph } from './graph.ts';

export interface SessionOptions {
  /** Threads inside one operator; default 1. */
  readonly threads?: number;
  /**
   * May idle threads spin? Faster by a little on an idle machine, far slower where processes share its cores; default false.
   */
  readonly spin?: boolean;
  /** Writes a profile of every operator to files that begin with this path. */
  readonly profilePrefix?: string;
}

export type Feeds = Readonly<Record<string, TensorView>>;

export interface Session {
  /**
   * Computes the outputs named by `fetch` (all by default). Feeds are read in place, fetched arrays are fresh: each
   * fetched output costs a copy.
   * @throws EngineError MISSING_FEED, UNKNOWN_FEED, FEED_MISMATCH, UNKNOWN_OUTPUT, SESSION_CLOSED, SESSION_FAILED
   */
  run(feeds: Feeds, fetch?: readonly string[]): Promise<Record<string, TensorView>>;
  release(): Promise<void>;
}

const ortType: { readonly [D in DType]: 'float32' | 'float64' | 'int64' | 'int32' | 'bool' } = {
  f32: 'float32',
  f64: 'float64',
  i64: 'int64',
  i32: 'int32',
  bool: 'bool',
};

/** @throws EngineError SESSION_FAILED where the runtime is not installed or refuses the graph */
export async function openSession(graph: Graph, options: SessionOptions = {}): Promise<Session> {
  const { emitOnnx, onnxInputName, onnxOutputName } = await import('./onnx.ts');
  const ort = loadRuntime();
  let session: InferenceSession | null;
  try {
    session = await ort.InferenceSession.create(emitOnnx(graph), runtimeOptions(options));
  } catch (cause) {
    throw new EngineError('SESSION_FAILED', `ONNX Runtime refuses the graph: ${String(cause)}`, { cause });
  }
  return {
    async run(feeds, fetch = [...graph.outputs.keys()]) {
      if (session === null) throw new EngineError('SESSION_CLOSED', 'the session was released; open another');
      checkFeeds(graph, feeds);
      for (const name of fetch)
        if (!graph.outputs.has(name))
          throw new EngineError(
            'UNKNOWN_OUTPUT',
            `no output ${name}; there are ${[...graph.outputs.keys()].join(', ')}`,
          );
      const inputs: Record<string, OrtTensor> = {};
      for (const name of graph.inputs.keys()) {
        const { dtype, shape, data } = feeds[name]!;
        inputs[onnxInputName(name)] = new ort.Tensor(ortType[dtype], data as Float32Array, shape) as OrtTensor;
      }
      try {
        const results = await session.run(inputs, fetch.map(onnxOutputName));
        return Object.fromEntries(fetch.map((name) => [name, toView(results[onnxOutputName(name)]!)]));
      } catch (cause) {
        throw new EngineError('SESSION_FAILED', `a run failed: ${String(cause)}`, { cause });
      }
    },
    async release() {
      const closing = session;
      session = null;
      await closing?.release();
    },
  };
}

type Runtime = typeof import('onnxruntime-node');

function loadRuntime(): Runtime {
  try {
    return createRequire(import.meta.url)('onnxruntime-node') as Runtime;
  } catch (cause) {
    throw new EngineError('SESSION_FAILED', 'onnxruntime-node cannot be loaded; run npm start once', { cause });
  }
}

/** Loads the runtime and gives its version. @throws EngineError SESSION_FAILED */
export const engineVersion = (): string => loadRuntime().env.versions.node ?? 'unknown';

function runtimeOptions({ threads = 1, spin = false, profilePrefix }: SessionOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    // One planned block for a whole run comes on top of what the first run took: 1143 instead of 711 MB (nano, 2048
    // tokens), and no faster.
    enableMemPattern: false,
    logSeverityLevel: 3,
    extra: {
      'session.intra_op.allow_spinning': spin ? '1' : '0',
      'session.set_denormal_as_zero': '1',
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
