/**
 * @file Tests that start the program as processes, whole networks of them: run one after the other, for they would starve each
 * other. The rest of tests/ runs two files at a time. `tests/architecture.test.ts` holds this list against the files.
 */
export const networks: readonly string[] = [
  'bittensor-run',
  'chaos',
  'data-run',
  'deploy',
  'end-to-end',
  'engines-run',
  'export-kill',
  'nats',
  'phases-end-to-end',
  'pull',
  'run-model',
  'two-syncers',
  'two-syncers-far',
].map((name) => `tests/${name}.test.ts`);
