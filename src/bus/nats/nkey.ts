/** @file The text form of NATS's keys (nkeys): base32 of a prefix byte, the 32 bytes of an ed25519 key, and a checksum. */

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const userPrefix = 20 << 3;

/** `U…` of a public ed25519 key: a session key as the server knows it. */
export function userNkey(publicKey: Uint8Array): string {
  const bytes = new Uint8Array(35);
  bytes[0] = userPrefix;
  bytes.set(publicKey, 1);
  const checksum = crc16(bytes.subarray(0, 33));
  bytes[33] = checksum & 0xff;
  bytes[34] = checksum >> 8;
  return base32(bytes);
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc;
}

/** RFC 4648 without padding; 35 bytes fill 56 characters exactly. */
function base32(bytes: Uint8Array): string {
  let [text, bits, held] = ['', 0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + alphabet[(held << (5 - bits)) & 31];
}
