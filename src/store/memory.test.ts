/** @file The contract of the store, held by the one in memory. */
import { testStore } from '../../tests/contracts/store.ts';
import { MemoryStore } from './memory.ts';

testStore('memory', async () => ({ store: new MemoryStore(), close: async () => undefined }), { isInMemory: true });
