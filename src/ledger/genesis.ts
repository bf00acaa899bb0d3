/** @file What makes an embedded chain: its rules and its secret. Written once, first in its file; same genesis, same rules. */
import { z } from 'zod';
import { countSchema, type Hash, hashSchema, hotkeySchema } from '../protocol/names.ts';
import { fromHex, toHex } from '../util/bytes.ts';

const u16 = countSchema.max(65_535);

/** Amounts in rao (10⁻⁹ TAO), times in blocks; names as the chain's parameters. */
const genesisFields = {
  /**
   * 2: block hashes are made with salts that become public (`hash-chain.ts`). 3: Yuma consensus with bonds, a price of
   * registration, pruning, commit-reveal. Chains of versions 1 and 2 are not read.
   */
  version: z.literal(3),
  chainId: z.string().min(1).max(128),
  netuid: u16,
  tempoBlocks: countSchema.min(1),
  blockMs: countSchema.min(1),
  /** The first epoch gives validators their permits and has nobody's work to pay: it may come early. Absent: `tempoBlocks`. */
  firstEpochBlock: countSchema.min(1).optional(),
  startMs: countSchema,
  /** Coldkey that gets the owner's 18 %; the neuron of that very key is the owner's. */
  owner: hotkeySchema,
  emissionPerBlockRao: countSchema,
  /** Balance of an account that the chain has not seen before: play money of a local network. */
  endowmentRao: countSchema,
  /** Price of the first registration; `minBurnRao` and `maxBurnRao` bound what follows from it. */
  burnRao: countSchema,
  minBurnRao: countSchema,
  maxBurnRao: countSchema,
  /** A registration multiplies the price by this, in percent; it halves every `burnHalfLifeBlocks`. */
  burnIncreasePercent: countSchema.min(100).max(1_000),
  burnHalfLifeBlocks: countSchema.min(1),
  isRegistrationOpen: z.boolean(),
  immunityBlocks: countSchema,
  minStakeRao: countSchema,
  maxUids: countSchema.min(1).max(65_536),
  maxValidators: countSchema.min(1),
  activityCutoffBlocks: countSchema.min(1),
  weightsRateLimitBlocks: countSchema,
  servingRateLimitBlocks: countSchema,
  minStakeToSetWeightsRao: countSchema,
  /** Weights must name this version or a later one; 0: any. */
  weightsVersionKey: countSchema,
  minAllowedWeights: countSchema,
  /** Largest share of one weight, as u16. */
  maxWeightLimit: u16,
  /** Weights are committed to, and revealed in the epoch `revealPeriodEpochs` later. */
  isCommitReveal: z.boolean(),
  revealPeriodEpochs: countSchema.min(1).max(100),
  yumaVersion: z.union([z.literal(2), z.literal(3)]),
  kappa: u16,
  bondsPenalty: u16,
  /** Of 1,000,000. */
  bondsMovingAverage: countSchema.max(1_000_000),
  isLiquidAlpha: z.boolean(),
  alphaLow: u16,
  alphaHigh: u16,
  alphaSigmoidSteepness: countSchema.max(32_767),
  stakeThresholdRao: countSchema,
  /** Commitment bytes of one hotkey in a tempo; each counts at least 100. */
  commitmentSpaceBytes: countSchema,
};
/** What everybody may know of it; block 0's hash is of this. */
export const publicGenesisSchema = z.strictObject({
  ...genesisFields,
  /** SHA-256 of the secret that salts follow from. */
  secretHash: hashSchema,
});
export type PublicGenesis = z.infer<typeof publicGenesisSchema>;

export const genesisSchema = z.strictObject({
  ...genesisFields,
  /** Goes into every block's salt, so that nobody without the file knows an empty block's hash before its time. */
  secret: hashSchema,
});
export type Genesis = z.infer<typeof genesisSchema>;
/** What the chain's rules read of a genesis. */
export type ChainRules = Omit<PublicGenesis, 'secretHash'>;

export function publicGenesisOf(
  { secret, ...fields }: Genesis,
  sha256: (bytes: Uint8Array) => Uint8Array,
): PublicGenesis {
  return { ...fields, secretHash: toHex(sha256(fromHex(secret)!)) as Hash };
}

export type GenesisOptions = Pick<Genesis, 'chainId' | 'netuid' | 'tempoBlocks' | 'blockMs' | 'owner'> &
  Partial<Omit<Genesis, 'version'>>;

/** The chain's own parameters where a local network needs others: what a rehearsal of mainnet adds to its genesis. */
export const mainnetRules = {
  burnRao: 500_000,
  minBurnRao: 500_000,
  weightsRateLimitBlocks: 100,
  endowmentRao: 0,
  isCommitReveal: true,
} as const;

/** Defaults are the chain's, but for what a local network needs at once: emission, endowment, free registration, plain weights. */
export function makeGenesis(options: GenesisOptions & Pick<Genesis, 'startMs' | 'secret'>): Genesis {
  return genesisSchema.parse({
    version: 3,
    emissionPerBlockRao: 1_000_000,
    endowmentRao: 1_000_000_000_000,
    burnRao: 0,
    minBurnRao: 0,
    maxBurnRao: 100_000_000_000,
    burnIncreasePercent: 126,
    burnHalfLifeBlocks: 360,
    isRegistrationOpen: true,
    immunityBlocks: 4_096,
    minStakeRao: 2_000_000,
    maxUids: 256,
    maxValidators: 128,
    activityCutoffBlocks: 5_000,
    weightsRateLimitBlocks: Math.floor(options.tempoBlocks / 2),
    servingRateLimitBlocks: 50,
    minStakeToSetWeightsRao: 0,
    weightsVersionKey: 0,
    minAllowedWeights: 1,
    maxWeightLimit: 65_535,
    isCommitReveal: false,
    revealPeriodEpochs: 1,
    yumaVersion: 2,
    kappa: 32_767,
    bondsPenalty: 65_535,
    bondsMovingAverage: 900_000,
    isLiquidAlpha: false,
    alphaLow: 45_875,
    alphaHigh: 58_982,
    alphaSigmoidSteepness: 1_000,
    stakeThresholdRao: 0,
    commitmentSpaceBytes: 3_100,
    ...options,
  });
}
