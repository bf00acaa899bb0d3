/** @file A process of the journal's test: appends the sample entries to a folder's journal until one is refused, and says how far it came. */
import { openFileJournal } from '../../src/journal/file.ts';
import { sampleEntries } from '../contracts/journal.ts';

// The limit's signal; the write itself then fails.
process.on('SIGXFSZ', () => {});
const entries = sampleEntries();
const { journal } = await openFileJournal({ folder: process.argv[2]! });
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);
let accepted = 0;
let code = 'OK';
while (code === 'OK' && accepted < entries.length)
  code = await journal.append(entries[accepted]!).then(() => {
    accepted++;
    return 'OK';
  }, codeOf);
const after = accepted === entries.length ? 'OK' : await journal.append(entries[accepted]!).then(() => 'OK', codeOf);
const read = await journal.read(0, 1_000).then((found) => found.length, codeOf);
await journal.close();
console.log(JSON.stringify({ accepted, code, after, read }));
