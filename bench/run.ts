/**
 * @file `npm run bench [-- NAME...] [--run DIR]`: runs the benchmarks that are named, or all. Of `bus` one may have a part only:
 * `--learners 100,1000`, `--over nats`, `--requests 0`.
 */
import { parseArgs } from 'node:util';
import { formatTable } from '../src/cli/table.ts';
import { attacksBench } from './attacks.bench.ts';
import { audits } from './audits.bench.ts';
import { bus } from './bus.bench.ts';
import { codecLoss, codecLossTiny, roundingLoss, roundingLossTiny } from './codec-loss.bench.ts';
import { codecsBench } from './codecs.bench.ts';
import { dashboard } from './dashboard.bench.ts';
import { data } from './data.bench.ts';
import { decode } from './decode.bench.ts';
import { exportBench } from './export.bench.ts';
import { fairness } from './fairness.bench.ts';
import { index } from './index.bench.ts';
import { innerLoop } from './inner-loop.bench.ts';
import { journal } from './journal.bench.ts';
import { layers } from './layers.bench.ts';
import { leaseText } from './lease-text.bench.ts';
import { ledger } from './ledger.bench.ts';
import { long } from './long.bench.ts';
import { type Bench, type BenchOptions, type BenchRow, machine } from './measure.ts';
import { merge, mergeReal } from './merge.bench.ts';
import { serveBench } from './serve.bench.ts';
import { stateRoot } from './state-root.bench.ts';
import { store } from './store.bench.ts';
import { syncers } from './syncers.bench.ts';
import { train } from './train.bench.ts';

const benches: readonly Bench[] = [
  innerLoop,
  train,
  layers,
  long,
  decode,
  merge,
  mergeReal,
  codecsBench,
  codecLoss,
  codecLossTiny,
  roundingLoss,
  roundingLossTiny,
  exportBench,
  data,
  leaseText,
  serveBench,
  journal,
  index,
  dashboard,
  bus,
  ledger,
  stateRoot,
  store,
  audits,
  attacksBench,
  fairness,
  syncers,
];

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      run: { type: 'string', default: '.accrete/run' },
      learners: { type: 'string', default: '1,10,100,1000' },
      over: { type: 'string', default: 'nats,websocket' },
      requests: { type: 'string', default: '100000' },
    },
  });
  const options: Omit<BenchOptions, 'tell'> = {
    run: values.run,
    learners: values.learners.split(',').map(Number).filter(Boolean),
    over: values.over.split(','),
    requests: Number(values.requests),
  };
  const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    console.error(
      `bench: no bench ${unknown.join(', ')}; expected some of ${benches.map(({ name }) => name).join(', ')}`,
    );
    return 2;
  }
  console.log(`machine: ${machine()}`);
  for (const bench of benches) {
    if (positionals.length > 0 ? !positionals.includes(bench.name) : bench.isLong) continue;
    console.log(`\n${bench.name}: ${bench.about}`);
    const told = new Set<BenchRow>();
    const tell = (...rows: readonly BenchRow[]): void => {
      const fresh = rows.filter((row) => !told.has(row));
      for (const row of fresh) told.add(row);
      print(fresh, { align: asTheyCome });
    };
    const rows = bench.run({ ...options, tell });
    if (Symbol.asyncIterator in rows) for await (const row of rows) tell(row);
    else tell(...(await rows));
  }
  return 0;
}

/** Widths of rows whose followers are not known yet. */
const asTheyCome = { what: 36, value: 30 };

function print(rows: readonly BenchRow[], { align }: { readonly align?: typeof asTheyCome } = {}): void {
  const cells = rows.map(({ what, value, detail }) =>
    align === undefined ? [what, value, detail] : [what.padEnd(align.what), value.padEnd(align.value), detail],
  );
  for (const line of formatTable(['', align === undefined ? '>' : '', ''], cells))
    if (line !== '') console.log(`  ${line}`);
}

process.exitCode = await main();
