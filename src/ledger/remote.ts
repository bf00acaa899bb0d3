/**
 * @file The ledger over the bus: `serveLedger` answers `ledger.<method>` for one process, `connectLedger` is the same port
 * elsewhere. Calls are signed where the key is; this end only carries them. A bus is all it knows of the network.
 */
import { z } from 'zod';
import { countSchema, type Hotkey, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { BaseError } from '../util/errors.ts';
import { type LedgerBackend, SigningLedger } from './backend.ts';
import { axonSchema, identitySchema, type SignedCall, signedCallSchema } from './calls.ts';
import { LedgerError, type LedgerErrorCode, ledgerErrorCodes } from './errors.ts';
import type { Block, BlockRecord, Neuron, Subnet } from './port.ts';

/** The part of a `Bus` that the ledger needs; the ledger layer does not import the bus. */
export interface LedgerRequester {
  request(topic: string, payload: string, options: { readonly timeoutMs: number }): Promise<string>;
}
export interface LedgerResponder {
  respond(topic: string, responder: (payload: string) => Promise<string>): Promise<{ close(): Promise<void> }>;
}

const u16 = countSchema.max(65_535);
const blockSchema = z.object({ number: countSchema, hash: hashSchema, timeMs: countSchema });
const share = z.number().min(0).max(1);
const neuronSchema = z.object({
  uid: u16,
  hotkey: hotkeySchema,
  coldkey: hotkeySchema,
  stakeRao: countSchema,
  validatorPermit: z.boolean(),
  registeredAtBlock: countSchema,
  emissionRao: countSchema,
  incentive: share,
  dividends: share,
  validatorTrust: share,
  consensus: share,
  lastUpdateBlock: countSchema.nullable(),
  immuneUntilBlock: countSchema,
  axon: axonSchema.nullable(),
});
const subnetSchema = z.object({
  ...{ chainId: z.string().max(128), netuid: u16, owner: hotkeySchema, block: countSchema },
  ...{ tempoBlocks: countSchema, lastEpochBlock: countSchema, nextEpochBlock: countSchema, epochIndex: countSchema },
  ...{ neuronCount: countSchema, maxUids: countSchema, maxValidators: countSchema, burnRao: countSchema },
  ...{
    minStakeRao: countSchema,
    emissionPerBlockRao: countSchema,
    issuedRao: countSchema,
    burnedRao: countSchema.nullable(),
  },
  ...{ weightsRateLimitBlocks: countSchema, weightsVersionKey: countSchema, isCommitReveal: z.boolean() },
  ...{
    revealPeriodEpochs: countSchema,
    yumaVersion: z.union([z.literal(2), z.literal(3)]),
    isLiquidAlpha: z.boolean(),
  },
});
const page = { limit: countSchema.min(1).max(1_000) };
const ofHotkey = z.strictObject({ hotkey: hotkeySchema });
const nothing = z.strictObject({});

/** Every method: what is sent and what comes back, as JSON. */
const methods = {
  info: {
    ask: nothing,
    reply: z.object({ chainId: z.string().max(128), netuid: u16, tempoBlocks: countSchema.min(1) }),
  },
  head: { ask: nothing, reply: blockSchema },
  block: { ask: z.strictObject({ number: countSchema }), reply: blockSchema.nullable() },
  nonce: { ask: ofHotkey, reply: countSchema },
  submit: { ask: signedCallSchema, reply: z.object({ block: countSchema }) },
  metagraph: { ask: nothing, reply: z.array(neuronSchema).max(65_536) },
  subnet: { ask: nothing, reply: subnetSchema },
  balance: { ask: ofHotkey, reply: z.string().regex(/^\d{1,38}$/) },
  identity: { ask: ofHotkey, reply: identitySchema.nullable() },
  weights: { ask: ofHotkey, reply: z.array(z.tuple([u16, u16])).max(65_536) },
  commitment: {
    ask: ofHotkey,
    reply: z.object({ block: countSchema, data: z.string().regex(/^([0-9a-f]{2}){0,128}$/) }).nullable(),
  },
  blocks: {
    ask: z.strictObject({ from: countSchema, ...page }),
    reply: z.array(z.object({ number: countSchema, hash: hashSchema, salt: hashSchema })).max(1_000),
  },
  calls: {
    ask: z.strictObject({ cursor: countSchema, ...page }),
    reply: z.object({
      calls: z.array(z.object({ block: countSchema, parent: hashSchema, signed: signedCallSchema })).max(1_000),
      next: countSchema,
    }),
  },
} as const;
type Methods = typeof methods;
type Ask<M extends keyof Methods> = z.infer<Methods[M]['ask']>;
type Reply<M extends keyof Methods> = z.infer<Methods[M]['reply']>;

/** Answers for `ledger` on the bus until it is closed. */
export async function serveLedger(bus: LedgerResponder, ledger: LedgerBackend): Promise<{ close(): Promise<void> }> {
  const { chainId, netuid, tempoBlocks } = ledger;
  const answers: { readonly [M in keyof Methods]: (ask: Ask<M>) => Promise<Reply<M>> } = {
    info: async () => ({ chainId, netuid, tempoBlocks }),
    head: () => ledger.head(),
    block: ({ number }) => ledger.block(number),
    nonce: ({ hotkey }) => ledger.nonce(hotkey),
    submit: (signed) => ledger.submit(signed),
    metagraph: async () => [...(await ledger.metagraph())],
    subnet: () => ledger.subnet(),
    balance: async ({ hotkey }) => String(await ledger.balance(hotkey)),
    identity: ({ hotkey }) => ledger.identity(hotkey),
    weights: async ({ hotkey }) => [...(await ledger.weights(hotkey))],
    commitment: ({ hotkey }) => ledger.commitment(hotkey),
    blocks: async ({ from, limit }) => [...(await ledger.blocks(from, limit))],
    calls: async ({ cursor, limit }) => {
      const { calls, next } = await ledger.calls(cursor, limit);
      return { calls: [...calls], next };
    },
  };
  const serve = <M extends keyof Methods>(method: M) =>
    bus.respond(`ledger.${method}`, async (payload) => {
      const ask = methods[method].ask.safeParse(parseJson(payload));
      if (!ask.success) {
        const fault = z.prettifyError(ask.error).slice(0, 300);
        throw new LedgerError('BAD_CALL', `ledger.${method}: ${fault}`);
      }
      return JSON.stringify(await answers[method](ask.data as Ask<M>));
    });
  const served = await Promise.all((Object.keys(methods) as (keyof Methods)[]).map((method) => serve(method)));
  return {
    close: async () => {
      await Promise.all(served.map((subscription) => subscription.close()));
    },
  };
}

export interface ConnectLedgerOptions {
  readonly timeoutMs?: number;
  /** How often a question, or the same signed call, is sent when no answer comes. */
  readonly attempts?: number;
}

/** Closing it leaves the bus open. `UNAVAILABLE` (retryable) when nobody serves a ledger there. */
export async function connectLedger(bus: LedgerRequester, options: ConnectLedgerOptions = {}): Promise<SigningLedger> {
  const { timeoutMs = 5_000, attempts = 3 } = options;
  const ask = async <M extends keyof Methods>(method: M, question: Ask<M>, tries = attempts): Promise<Reply<M>> => {
    for (let attempt = 1; ; attempt++) {
      try {
        const text = await bus.request(`ledger.${method}`, JSON.stringify(question), { timeoutMs });
        const reply = methods[method].reply.safeParse(parseJson(text));
        if (reply.success) return reply.data as Reply<M>;
        throw new LedgerError('UNAVAILABLE', `ledger.${method}: the reply is not of its form`);
      } catch (error) {
        const known = toLedgerError(method, error);
        if (!known.retryable || known.code !== 'UNAVAILABLE' || attempt >= tries) throw known;
      }
    }
  };
  const { chainId, netuid, tempoBlocks } = await ask('info', {});
  const backend: LedgerBackend = {
    chainId,
    netuid,
    tempoBlocks,
    head: async () => (await ask('head', {})) as Block,
    block: async (number) => (await ask('block', { number })) as Block | null,
    nonce: (hotkey: Hotkey) => ask('nonce', { hotkey }),
    submit: (signed: SignedCall) => ask('submit', signed, 1), // `SigningLedger` sends it again.
    metagraph: async () => (await ask('metagraph', {})) as Neuron[],
    subnet: async () => (await ask('subnet', {})) as Subnet,
    balance: async (account) => BigInt(await ask('balance', { hotkey: account })),
    identity: (coldkey) => ask('identity', { hotkey: coldkey }),
    weights: async (hotkey) => new Map(await ask('weights', { hotkey })),
    commitment: (hotkey) => ask('commitment', { hotkey }),
    blocks: (from, limit) => ask('blocks', { from, limit }) as Promise<BlockRecord[]>,
    calls: (cursor, limit) => ask('calls', { cursor, limit }),
    close: async () => undefined,
  };
  return new SigningLedger(backend, { sendAttempts: attempts });
}

/** The chain's own errors keep their code; everything else is an unavailable ledger. */
function toLedgerError(method: string, error: unknown): LedgerError {
  if (error instanceof LedgerError) return error;
  if (!(error instanceof BaseError)) throw error;
  const code = ledgerErrorCodes.find((known) => known === error.code) as LedgerErrorCode | undefined;
  if (code !== undefined) return new LedgerError(code, error.message, { retryable: error.retryable, cause: error });
  return new LedgerError('UNAVAILABLE', `ledger.${method}: ${error.message}`, {
    retryable: error.retryable,
    cause: error,
    context: { busCode: error.code },
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema says what is wrong.
  }
}
