/** @file The record behind what somebody typed: a folder, or an orchestrator's address. */
import { FolderRecord } from './folder-record.ts';
import { HttpRecord } from './http-record.ts';
import type { RecordSource } from './merge-thread.ts';
import type { PublicRecord } from './record.ts';

/** @throws VerifyError UNREACHABLE */
export const openRecord = async (source: RecordSource, signal: AbortSignal): Promise<PublicRecord> =>
  source.kind === 'url' ? new HttpRecord(source.url, signal) : await FolderRecord.open(source.dir);
