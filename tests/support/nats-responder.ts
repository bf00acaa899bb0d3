/**
 * @file A responder as a process that tests kill: notes each request in a file before it answers, as an orchestrator journals, and knows at
 * its start what is noted. Arguments: server, scope, file, and the term that it was elected for.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { connectNats } from '../../src/bus/nats/bus.ts';
import { NatsNames } from '../../src/bus/nats/names.ts';
import { keptTopics, topics } from '../../src/roles/client.ts';

const [, , server, scope, file, term] = process.argv as [string, string, string, string, string, string?];
const known = new Set(existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []);
const bus = await connectNats({
  ...{
    servers: [server],
    names: new NatsNames(scope, 'responder'),
    kept: keptTopics,
    isOwner: true,
    term: Number(term ?? 0),
  },
  ...{ minBackoffMs: 20, maxBackoffMs: 200 },
});
await bus.respond(topics.submit, async (payload) => {
  if (!known.has(payload)) {
    known.add(payload);
    appendFileSync(file, `${payload}\n`);
  }
  return `noted ${payload}`;
});
process.stdout.write('ready\n');
