/**
 * @file A process of the journal's test: appends the sample entries to a folder's journal until one is refused, and says how far it came; or two and then the
 * rest as one group.
 */
import { openFileJournal } from '../../src/journal/file.ts';
import { sampleEntries } from '../contracts/journal.ts';

// The limit's signal; the write itself then fails.
process.on('SIGXFSZ', () => {});
const entries = sampleEntries();
const { journal } = await openFileJournal({ folder: process.argv[2]! });
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);
let accepted = 0;
let code = 'OK';
if (process.argv[3] === 'group') {
  await journal.appendAll(entries.slice(0, 2));
  accepted = 2;
  code = await journal.appendAll(entries.slice(2)).then(() => 'OK', codeOf);
}
while (code === 'OK' && accepted < entries.length)
  code = await journal.append(entries[accepted]!).then(() => {
    accepted++;
    return 'OK';
  }, codeOf);
const rest = process.argv[3] === 'group' ? entries.slice(accepted) : entries.slice(accepted, accepted + 1);
const after = rest.length === 0 ? 'OK' : await journal.appendAll(rest).then(() => 'OK', codeOf);
const read = await journal.read(0, 1_000).then((found) => found.length, codeOf);
await journal.close();
console.log(JSON.stringify({ accepted, code, after, read }));
