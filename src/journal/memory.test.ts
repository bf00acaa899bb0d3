/** @file The journal in memory keeps the contract. */
import { testJournal } from '../../tests/contracts/journal.ts';
import { MemoryJournal } from './memory.ts';

testJournal('memory', async () => {
  const journal = new MemoryJournal();
  return { journal, close: () => journal.close() };
});
