/**
 * @file The chain's refusals as typed errors: `Custom(n)` of the transaction pool, errors of pallets, and the pool's own words. Each
 * sentence says what to do. A name that is not listed is passed on as it is.
 */
import { LedgerError, type LedgerErrorCode, refused } from '../errors.ts';
import { RpcRefusal } from './errors.ts';
import { isRecord } from './rpc.ts';

type Meaning = readonly [LedgerErrorCode, string];

const later: Meaning = ['RATE_LIMIT', 'too soon after the last call of this kind; wait some blocks'];
const unregistered: Meaning = ['NOT_REGISTERED', 'the hotkey is no neuron of this subnet; register it first'];
const poor: Meaning = ['BALANCE', 'the coldkey has not enough; transfer TAO to it'];
const little: Meaning = ['BALANCE', 'the amount is below the least stake (0.002 TAO); give more'];
const notYours: Meaning = ['NOT_ASSOCIATED', 'the hotkey belongs to another coldkey; sign with that one'];
const noSubnet: Meaning = ['BAD_CALL', 'there is no such subnet on this chain; check --netuid and --endpoint'];
const badWeights = (sentence: string): Meaning => ['BAD_WEIGHTS', sentence];
const reveal = (sentence: string): Meaning => ['COMMIT_REVEAL', sentence];
const bad = (sentence: string): Meaning => ['BAD_CALL', sentence];

/** By the chain's name. */
const meanings: Readonly<Record<string, Meaning>> = {
  HotKeyNotRegisteredInSubNet: unregistered,
  HotKeyNotRegisteredInNetwork: unregistered,
  HotKeyAccountNotExists: unregistered,
  HotkeyAccountDoesntExist: unregistered,
  AccountNotAllowedCommit: unregistered,
  UidNotFound: unregistered,
  NonAssociatedColdKey: notYours,
  NotEnoughBalanceToStake: poor,
  BalanceTooLow: poor,
  BalanceWithdrawalError: poor,
  NotEnoughBalanceToPaySwapHotKey: poor,
  FundsUnavailable: poor,
  Payment: ['BALANCE', 'the account cannot pay the fee; transfer some TAO to it'],
  StakeAmountTooLow: little,
  AmountTooLow: little,
  NotEnoughStake: ['BALANCE', 'the hotkey has less stake than that; give a smaller amount'],
  NotEnoughStakeToWithdraw: ['BALANCE', 'the hotkey has less stake than that; give a smaller amount'],
  NotEnoughStakeToSetWeights: ['BALANCE', 'the hotkey has too little stake to set weights; stake more'],
  NoNeuronIdAvailable: ['NO_SLOT', 'all uids are taken and immune; try again later'],
  NeuronNoValidatorPermit: ['NO_PERMIT', 'the hotkey has no validator permit; stake, and wait for the next epoch'],
  WeightVecNotEqualSize: badWeights('give one weight a uid'),
  InputLengthsUnequal: badWeights('give one weight a uid'),
  UidsLengthExceedUidsInSubNet: badWeights('more weights than the subnet has uids'),
  IncorrectWeightVersionKey: badWeights(
    'the subnet wants a later version key; update the validator, or give --version-key',
  ),
  DuplicateUids: badWeights('a uid is named twice'),
  UidVecContainInvalidOne: badWeights('a uid is not taken; read the metagraph again'),
  WeightVecLengthIsLow: badWeights('the subnet wants more weights than that'),
  MaxWeightExceeded: badWeights('one weight is a larger share than the subnet allows'),
  SettingWeightsTooFast: later,
  CommittingWeightsTooFast: later,
  TooManyUnrevealedCommits: ['RATE_LIMIT', 'ten commits wait to be revealed; reveal or let them expire first'],
  ServingRateLimitExceeded: later,
  RateLimitExceeded: later,
  TxRateLimitExceeded: later,
  NetworkTxRateLimitExceeded: later,
  StakingRateLimitExceeded: later,
  TooManyRegistrationsThisBlock: later,
  TooManyRegistrationsThisInterval: later,
  SpaceLimitExceeded: ['RATE_LIMIT', 'this hotkey committed all it may in this epoch; wait for the next'],
  CommitRevealEnabled: reveal('the subnet takes weights by commit and reveal only'),
  CommitRevealDisabled: reveal('the subnet takes plain weights only'),
  NoWeightsCommitFound: reveal('there is no commit of this hotkey; commit first'),
  CommitNotFound: reveal('there is no commit of this hotkey; commit first'),
  RevealTooEarly: reveal('wait for the epoch of the reveal'),
  CommitBlockNotInRevealRange: reveal('this is not the epoch of the reveal'),
  ExpiredWeightCommit: reveal('the epoch of the reveal is over; commit again'),
  InvalidRevealCommitHashNotMatch: reveal('these are not the weights that were committed to'),
  IncorrectCommitRevealVersion: reveal('the subnet wants timelocked weights, which this program cannot make'),
  SubnetNotExists: noSubnet,
  SubNetworkDoesNotExist: noSubnet,
  MechanismDoesNotExist: noSubnet,
  SubNetRegistrationDisabled: bad('the subnet takes nobody now; ask its owner'),
  SubtokenDisabled: bad('the subnet has not started yet; its owner must start it'),
  HotKeyAlreadyRegisteredInSubNet: bad('the hotkey has a uid; nothing is to be done'),
  RegistrationPriceLimitExceeded: [
    'BALANCE',
    'the price rose above the limit before the call was included; look at it again',
  ],
  SlippageTooHigh: ['BALANCE', 'the price moved too far; look at it again'],
  InsufficientLiquidity: ['BALANCE', "the subnet's pool has not enough for that; give a smaller amount"],
  InvalidIpAddress: bad('the address is not reachable from outside; give the public address'),
  InvalidPort: bad('port 0 cannot be connected to; give the true port'),
  InvalidIdentity: bad('a field is too long'),
  BadSigner: ['BAD_SIGNATURE', 'the signature is not of this account'],
  BadProof: ['BAD_SIGNATURE', 'the signature does not fit; is --endpoint of the same network and runtime?'],
};

/** `Custom(n)` of the pool (subtensor's `transaction_error.rs`). */
const customNames: Readonly<Record<number, string>> = {
  0: 'ColdkeyInSwapSchedule',
  1: 'StakeAmountTooLow',
  2: 'BalanceTooLow',
  3: 'SubnetNotExists',
  4: 'HotkeyAccountDoesntExist',
  5: 'NotEnoughStakeToWithdraw',
  6: 'RateLimitExceeded',
  7: 'InsufficientLiquidity',
  8: 'SlippageTooHigh',
  9: 'TransferDisallowed',
  10: 'HotKeyNotRegisteredInNetwork',
  11: 'InvalidIpAddress',
  12: 'ServingRateLimitExceeded',
  13: 'InvalidPort',
  14: 'ZeroMaxAmount',
  15: 'InvalidRevealRound',
  16: 'CommitNotFound',
  17: 'CommitBlockNotInRevealRange',
  18: 'InputLengthsUnequal',
  19: 'UidNotFound',
  25: 'NonAssociatedColdKey',
  26: 'DelegateTakeTooLow',
  27: 'DelegateTakeTooHigh',
  255: 'BadRequest',
};

/** A refusal under the chain's name. */
export function chainRefusal(name: string, what: string): LedgerError {
  const [code, sentence] =
    meanings[name] ?? bad("the chain does not take it; see the chain's documentation of this name");
  return refused(code, name, `${what}: ${sentence}`);
}

/** What the pool says of a transaction that it does not take. */
export type PoolRefusal =
  /** In the pool already. */
  | { readonly kind: 'known' }
  /** The nonce is used, or used by another in the pool. */
  | { readonly kind: 'nonce' }
  /** Not now: pool full, or the same bytes were invalid a moment ago. */
  | { readonly kind: 'busy' }
  | { readonly kind: 'refused'; readonly error: LedgerError };

/** Sorts a node's answer to a submission; null if it is no answer of the pool. */
export function poolRefusalOf(error: unknown, what: string): PoolRefusal | null {
  if (!(error instanceof RpcRefusal)) return null;
  const { rpcCode, data } = error;
  const text = typeof data === 'string' ? data : JSON.stringify(data ?? '');
  if (rpcCode === 1013) return { kind: 'known' };
  if (rpcCode === 1014) return { kind: 'nonce' };
  if (rpcCode === 1012 || rpcCode === 1016 || rpcCode === 1018) return { kind: 'busy' };
  if (rpcCode < 1000 || rpcCode > 1020) return null;
  if (/stale|outdated/i.test(text)) return { kind: 'nonce' };
  const custom = customCodeOf(data, text);
  if (custom !== null) return { kind: 'refused', error: chainRefusal(customNames[custom] ?? `Custom${custom}`, what) };
  if (/inability to pay|payment/i.test(text)) return { kind: 'refused', error: chainRefusal('Payment', what) };
  if (/bad signature|badproof/i.test(text)) return { kind: 'refused', error: chainRefusal('BadProof', what) };
  const sentence = `${what}: the node does not take it (${rpcCode}: ${`${error.message} ${text}`.slice(0, 200)})`;
  return { kind: 'refused', error: new LedgerError('BAD_CALL', sentence) };
}

function customCodeOf(data: unknown, text: string): number | null {
  if (isRecord(data)) {
    const invalid = data.invalid ?? data.Invalid;
    if (isRecord(invalid)) {
      const custom = invalid.custom ?? invalid.Custom;
      if (typeof custom === 'number') return custom;
    }
  }
  const found = /custom(?: error)?"?\s*[:(]\s*(\d{1,3})/i.exec(text);
  return found === null ? null : Number(found[1]);
}

/** What `dispatch_error` of an included extrinsic says: nested enums, of which the innermost is the error's name. */
export function dispatchRefusal(error: unknown, what: string): LedgerError {
  let name = 'Other';
  for (let inner = error; isRecord(inner) && typeof inner.type === 'string'; inner = inner.value) name = inner.type;
  return chainRefusal(/^[A-Z][A-Za-z]{0,60}$/.test(name) ? name : 'Other', what);
}
