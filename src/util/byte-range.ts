/** @file The `Range` header of a request for bytes. */

export type ByteRange = { readonly from: number; readonly to: number };

/** One range of RFC 9110; null for none, and for forms that a server may ignore. */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return null;
  if (match[1] === '') {
    const length = Math.min(Number(match[2]), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { from: sizeBytes - length, to: sizeBytes };
  }
  const from = Number(match[1]);
  const to = match[2] === '' ? sizeBytes : Math.min(Number(match[2]) + 1, sizeBytes);
  if (match[2] !== '' && Number(match[2]) < from) return null;
  return from >= sizeBytes ? 'unsatisfiable' : { from, to };
}
