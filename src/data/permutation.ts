/**
 * @file A keyed pseudorandom permutation of [0, size): a Feistel network whose round function is SHA-256, with cycle
 * walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). O(1) an index, no table.
 */
import { sha256 } from '../protocol/hash.ts';
import { concatBytes, utf8 } from '../util/bytes.ts';
import { assert } from '../util/errors.ts';

const ROUNDS = 6;
/** Two halves of 26 bits: as far as a number can count. */
const MAX_BITS = 52;

/** A permutation's key: bind everything that must have an order of its own. */
export function permutationKey(...parts: readonly string[]): Uint8Array {
  return sha256(concatBytes(...parts.map((part) => sha256(utf8(part)))));
}

/** Image of `index` under the permutation of [0, size) that `key` (32 bytes) names. */
export function permute(key: Uint8Array, size: number, index: number): number {
  assert(Number.isSafeInteger(size) && size >= 1 && size <= 2 ** MAX_BITS, `permute: size ${size} is out of bounds`);
  assert(Number.isSafeInteger(index) && index >= 0 && index < size, `permute: index ${index} is not in [0, ${size})`);
  if (size === 1) return 0;
  const { highSize, lowSize } = halvesOf(size);
  let image = index;
  // The domain is less than twice the size, so that the walk takes two steps on average at most.
  do image = feistel(key, image, highSize, lowSize);
  while (image >= size);
  return image;
}

/** The index whose image is `image`: `unpermute(key, size, permute(key, size, i))` is i. */
export function unpermute(key: Uint8Array, size: number, image: number): number {
  assert(Number.isSafeInteger(size) && size >= 1 && size <= 2 ** MAX_BITS, `unpermute: size ${size} is out of bounds`);
  assert(Number.isSafeInteger(image) && image >= 0 && image < size, `unpermute: image ${image} is not in [0, ${size})`);
  if (size === 1) return 0;
  const { highSize, lowSize } = halvesOf(size);
  let index = image;
  do index = unfeistel(key, index, highSize, lowSize);
  while (index >= size);
  return index;
}

/** Powers of two whose product is the least that holds the size. Counted, not by a logarithm: that of 2^51 + 1 rounds to 51. */
function halvesOf(size: number): { readonly highSize: number; readonly lowSize: number } {
  let bits = 1;
  while (2 ** bits < size) bits++;
  return { lowSize: 2 ** (bits >> 1), highSize: 2 ** (bits - (bits >> 1)) };
}

/** One pass over (high, low): rounds alternate which half is masked, so that halves of unequal width work. */
function feistel(key: Uint8Array, value: number, highSize: number, lowSize: number): number {
  let high = Math.floor(value / lowSize);
  let low = value % lowSize;
  const input = roundInput(key);
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) high = (high + roundValue(input, round, low)) % highSize;
    else low = (low + roundValue(input, round, high)) % lowSize;
  }
  return high * lowSize + low;
}

/** The rounds of `feistel`, undone in reverse. */
function unfeistel(key: Uint8Array, value: number, highSize: number, lowSize: number): number {
  let high = Math.floor(value / lowSize);
  let low = value % lowSize;
  const input = roundInput(key);
  for (let round = ROUNDS - 1; round >= 0; round--) {
    if (round % 2 === 0) high = (high - (roundValue(input, round, low) % highSize) + highSize) % highSize;
    else low = (low - (roundValue(input, round, high) % lowSize) + lowSize) % lowSize;
  }
  return high * lowSize + low;
}

/** The key and room for a round, which `roundValue` fills in. */
function roundInput(key: Uint8Array): Uint8Array {
  const input = new Uint8Array(key.byteLength + 8);
  input.set(key);
  return input;
}

/** First 4 bytes, little endian, of SHA-256(key ‖ round: u32 LE ‖ half: u32 LE). Without views, which took as long as the hash. */
function roundValue(input: Uint8Array, round: number, half: number): number {
  const at = input.byteLength - 8;
  for (let byte = 0; byte < 4; byte++) {
    input[at + byte] = round >>> (8 * byte);
    input[at + 4 + byte] = half >>> (8 * byte);
  }
  const digest = sha256(input);
  return (digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24)) >>> 0;
}
