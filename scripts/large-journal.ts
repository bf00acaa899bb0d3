/**
 * @file Writes the journal of a large synthetic run: `node --import tsx scripts/large-journal.ts FOLDER [events] [miners]`.
 * The folder can then be read as an orchestrator's (`journal.jsonl`); its artifacts have names and no bytes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { journalFileName } from '../src/journal/file.ts';
import { canonicalJson } from '../src/util/canonical-json.ts';
import { makeLargeJournal } from '../tests/support/large-journal.ts';

const [folder, events = '100000', miners = '256'] = process.argv.slice(2);
if (folder === undefined || !(Number(events) > 0) || !(Number(miners) > 0)) {
  console.error('expected FOLDER [events] [miners], e.g. .accrete/large 100000 256');
  process.exit(2);
}
const { entries } = makeLargeJournal({ events: Number(events), miners: Number(miners) });
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, journalFileName), entries.map((entry) => `${canonicalJson(entry)}\n`).join(''));
console.log(`${entries.length} entries in ${join(folder, journalFileName)}`);
