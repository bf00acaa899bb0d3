/** @file Parses JSON from bytes and refuses duplicate keys, which two readers may resolve differently. */

export type UniqueJson =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'fault'; readonly reason: string };

/** Never throws. A key `__proto__` is a fault too. */
export function parseUniqueJson(bytes: Uint8Array): UniqueJson {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    const duplicate = findRepeatedKey(text);
    return duplicate === null ? { kind: 'value', value } : { kind: 'fault', reason: `repeated key ${duplicate}` };
  } catch (error) {
    return { kind: 'fault', reason: error instanceof Error ? error.message.slice(0, 120) : 'not JSON' };
  }
}

/** Walks text that JSON.parse has accepted; a string followed by a colon is a key. */
function findRepeatedKey(text: string): string | null {
  const open: Set<string>[] = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    if (match[0] === '{') open.push(new Set());
    else if (match[0] === '}') open.pop();
    else if (match[1] !== undefined) {
      const key = JSON.parse(match[0].slice(0, match[0].length - match[1].length)) as string;
      const keys = open.at(-1)!;
      if (keys.has(key) || key === '__proto__') return key.slice(0, 60);
      keys.add(key);
    }
  }
  return null;
}
