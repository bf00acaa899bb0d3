/** @file The record behind what somebody typed: a folder, or an orchestrator's address. */
import { HttpStore } from '../store/http-client.ts';
import { FolderRecord } from './folder-record.ts';
import { HttpRecord } from './http-record.ts';
import type { RecordSource } from './merge-thread.ts';
import type { PublicRecord } from './record.ts';
import { withStore } from './store-record.ts';

/** @throws VerifyError UNREACHABLE */
export async function openRecord(source: RecordSource, signal: AbortSignal): Promise<PublicRecord> {
  const record = source.kind === 'url' ? new HttpRecord(source.url, signal) : await FolderRecord.open(source.dir);
  return source.store === null ? record : withStore(record, new HttpStore(source.store), signal);
}
