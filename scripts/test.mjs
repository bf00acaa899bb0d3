/**
 * @file `npm test`: type check, lint, then the tests of src/ and of tests/. The very last line is
 * `N passed, N failed, N skipped`; what failed, and why, stands right before it, and what is skipped after its part. Type check and lint count as one test each. Exit code 1 on any failure.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const total = { passed: 0, failed: 0, skipped: 0 };
const failures = [];

function fail(name, why) {
  total.failed++;
  failures.push(`${name}: ${why}`);
}

function run(title, script, args) {
  const startMs = performance.now();
  console.log(`\n== ${title}`);
  const result = spawnSync(process.execPath, [join(root, 'node_modules', script), ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (result.error) console.error(`${title}: ${result.error.message}`);
  const isFine = result.status === 0;
  console.log(`== ${title}: ${isFine ? 'fine' : 'FAILED'} in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  return isFine;
}

function check(title, script, args) {
  if (run(title, script, args)) total.passed++;
  else fail(title, 'told above');
}

/** `project`: of vitest.config.ts. */
function runTests(title, project) {
  const scratch = mkdtempSync(join(tmpdir(), 'accrete-test-'));
  const file = join(scratch, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const isFine = run(title, 'vitest/vitest.mjs', ['run', `--project=${project}`, ...reporters]);
    const failed = count(file);
    // A crash, an error outside of any test, or a file that does not load fails no test by itself.
    if (!isFine && failed === 0) fail(title, 'ended badly, though no test failed');
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function count(file) {
  let report;
  try {
    report = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    console.error(`no test report: ${error.message}`);
    return 0;
  }
  const before = total.failed;
  for (const { name, status, message, assertionResults } of report.testResults) {
    const file = relative(root, name);
    const failed = assertionResults.filter((test) => test.status === 'failed');
    for (const { fullName, failureMessages } of failed) fail(`${file} > ${fullName}`, failureMessages.join('\n'));
    if (status === 'failed' && failed.length === 0) fail(file, message || 'did not load');
  }
  total.passed += report.numPassedTests;
  total.skipped += report.numPendingTests + report.numTodoTests;
  sayWhatIsSkipped(report);
  return total.failed - before;
}

/** By the titles around the tests, which say what is missing. */
function sayWhatIsSkipped(report) {
  const counts = new Map();
  for (const suite of report.testResults)
    for (const { status, ancestorTitles, title } of suite.assertionResults) {
      if (!['skipped', 'pending', 'todo', 'disabled'].includes(status)) continue;
      const name = `${relative(root, suite.name)} > ${ancestorTitles.filter(Boolean).join(' > ') || title}`;
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  for (const [name, count] of counts) console.log(`skipped: ${name}: ${count} ${count === 1 ? 'test' : 'tests'}`);
}

check('type check', 'typescript/bin/tsc', ['-p', '.']);
check('type check of the dashboard', 'typescript/bin/tsc', ['-p', 'web']);
check('lint', '@biomejs/biome/bin/biome', ['check', '--error-on-warnings']);
runTests('unit tests', 'unit');
runTests('tests of the dashboard', 'dashboard');
runTests('tests of the whole', 'whole');
runTests('networks of processes', 'networks');

for (const failure of failures) console.log(`\nfailed: ${failure}`);
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
