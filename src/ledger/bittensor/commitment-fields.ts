/** @file The data of a commitment as the chain's enum of lengths and hashes. */
import { fromHex, toHex } from '../../util/bytes.ts';
import { isRecord } from './rpc.ts';

/** `Raw0` to `Raw128`: the length is in the name. One byte is a number, more are hex. */
export function rawField(data: Uint8Array): { readonly type: string; readonly value: unknown } {
  const { byteLength } = data;
  return { type: `Raw${byteLength}`, value: byteLength === 0 ? undefined : `0x${toHex(data)}` };
}

/** All bytes of a commitment: raw ones, or the hash that it is. */
export function fieldsData(info: unknown): Uint8Array {
  const fields = Array.isArray(info) ? info : isRecord(info) && Array.isArray(info.fields) ? info.fields : [];
  const hex = fields.map((field) => (isRecord(field) ? valueHex(field.value) : '')).join('');
  return fromHex(hex) ?? new Uint8Array();
}

function valueHex(value: unknown): string {
  if (typeof value === 'string' && value.startsWith('0x')) return value.slice(2);
  if (typeof value === 'number' && value >= 0 && value < 256) return value.toString(16).padStart(2, '0');
  return value instanceof Uint8Array ? toHex(value) : '';
}
