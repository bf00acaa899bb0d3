/**
 * @file Makes a clone ready: installs what is missing, checks the tensor engine's library, prepares the text corpus, builds the
 * dashboard; for tests also Debian packages with programs that some of them run (`debian-packages.json`).
 * Runs before `npm start` and `npm test`, and does nothing, fast, when nothing is to do. Plain Node without packages,
 * for it runs before there are any. Writes to stderr: stdout belongs to the program that starts next.
 *
 *   node scripts/setup.mjs [--test] [--preset tiny|nano|small]... [--force]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('..', import.meta.url);
const inClone = (path) => fileURLToPath(new URL(path, root));
const readJson = (path) => JSON.parse(readFileSync(inClone(path), 'utf8'));
const say = (line) => process.stderr.write(`setup: ${line}\n`);
const corpusPresets = ['nano', 'tiny', 'small'];

/** What stops the set-up: a sentence for the person who typed the command. */
class SetupError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

function parseArguments(argv) {
  const options = { forTests: false, force: false, presets: ['nano', 'tiny'] };
  for (let i = 0; i < argv.length; i++) {
    const [flag, inline] = argv[i].split('=', 2);
    if (flag === '--test') options.forTests = true;
    else if (flag === '--force') options.force = true;
    else if (flag === '--preset') {
      const preset = inline ?? argv[++i];
      if (!corpusPresets.includes(preset)) {
        throw new SetupError(`--preset: expected ${corpusPresets.join(', ')}, got ${preset ?? 'nothing'}`, 2);
      }
      if (!options.presets.includes(preset)) options.presets.push(preset);
    } else throw new SetupError(`unknown argument ${argv[i]}; known: --test, --preset NAME, --force`, 2);
  }
  return options;
}

/** `engines.node` of package.json is `>=MAJOR.MINOR`. */
function checkNode() {
  const needed = readJson('package.json').engines.node.replace('>=', '');
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [neededMajor, neededMinor] = needed.split('.').map(Number);
  if (major > neededMajor || (major === neededMajor && minor >= neededMinor)) return;
  throw new SetupError(
    `Node ${needed} or newer is needed, this is ${process.versions.node}; install one from nodejs.org`,
    2,
  );
}

/** Packages of the lock file that are not installed in that version. Platform-bound ones may rightly be absent. */
function missingPackages(withTestTools) {
  const hidden = 'node_modules/.package-lock.json'; // npm writes it last: an install cut short leaves none
  const installed = existsSync(inClone(hidden)) ? readJson(hidden).packages : {};
  return Object.entries(readJson('package-lock.json').packages).filter(
    ([path, entry]) =>
      path.startsWith('node_modules/') &&
      !entry.optional &&
      !entry.devOptional &&
      (withTestTools || !entry.dev) &&
      installed[path]?.version !== entry.version,
  );
}

function install(withTestTools) {
  const missing = missingPackages(withTestTools);
  if (missing.length === 0) return;
  // Without the tools of the tests when only the program is wanted, unless they are here already.
  const all = withTestTools || existsSync(inClone('node_modules/vitest'));
  say(
    `installing packages (npm ci${all ? '' : ', without test tools'}; ${missing.length} missing or of another version)`,
  );
  const startMs = performance.now();
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', ...(all ? [] : ['--omit=dev'])];
  // npm tells its scripts where it is; by hand it is on the path.
  const npm = process.env.npm_execpath;
  const options = { cwd: inClone('.'), stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' };
  const result = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
  if (result.error || result.status !== 0) {
    const words = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n');
    process.stderr.write(`${words.slice(0, 12).join('\n')}\n`); // after that npm explains its options
    throw new SetupError(`npm ci failed${result.error ? ` (${result.error.message})` : ''}; its words are above`, 1);
  }
  say(`packages installed in ${seconds(startMs)}`);
}

/** Its install script would only download GPU libraries: the CPU library lies in the package. */
function checkEngine() {
  const folder = `node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}`;
  if (existsSync(inClone(`${folder}/onnxruntime_binding.node`))) return;
  const offered = inClone('node_modules/onnxruntime-node/bin/napi-v6');
  const known = existsSync(offered)
    ? readdirSync(offered).flatMap((os) => readdirSync(`${offered}/${os}`).map((cpu) => `${os}/${cpu}`))
    : [];
  throw new SetupError(
    `ONNX Runtime has no library for ${process.platform}/${process.arch} (${folder} is not there); ` +
      `it offers ${known.join(', ') || 'none: run npm ci --ignore-scripts'}`,
    1,
  );
}

const aptLimitMs = 600_000;

/**
 * Programs that some tests run, as Debian packages: installs them as root on Debian, and says what to install elsewhere.
 * It never fails: the tests that need what is not there are skipped by name.
 */
function installDebianPackages() {
  const absent = Object.values(readJson('scripts/debian-packages.json')).filter((program) => !isInstalled(program));
  if (absent.length === 0) return;
  const packages = absent.flatMap((program) => program.packages);
  const uses = absent.map((program) => program.for).join('; ');
  const byHand = `tests that need it are skipped; by hand: apt-get install --no-install-recommends ${packages.join(' ')}`;
  const why = whyNoApt();
  if (why !== null) return say(`not here: ${uses}; ${why}: ${byHand}`);
  say(`installing Debian packages for tests (${packages.join(', ')}: ${uses}; ACCRETE_NO_APT=1 leaves that to you)`);
  const startMs = performance.now();
  const words = aptInstall(packages);
  if (words === null) say(`Debian packages installed in ${seconds(startMs)}`);
  else say(`apt-get failed (${words}): ${byHand}`);
}

/** By dpkg where it is, for a package has more than the one file. */
function isInstalled({ packages, file }) {
  if (!existsSync(file)) return false;
  const { error, stdout } = spawnSync('dpkg-query', ['--status', ...packages], { encoding: 'utf8' });
  if (error) return true;
  return (stdout.match(/^Status: .* installed$/gm) ?? []).length === packages.length;
}

/** Null: packages can be installed. */
function whyNoApt() {
  if (process.env.ACCRETE_NO_APT) return 'ACCRETE_NO_APT is set';
  if (!existsSync('/etc/debian_version') || !existsSync('/usr/bin/apt-get')) return 'this is not Debian';
  if (process.getuid?.() !== 0) return 'this user is not root';
  return null;
}

/** Null, or apt's last words. The lists of packages are fetched only where they are too old or missing. */
function aptInstall(packages) {
  const patience = ['-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20', '-o', 'DPkg::Lock::Timeout=60'];
  const apt = (...args) =>
    spawnSync('apt-get', ['-q', '-y', ...patience, ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      timeout: aptLimitMs,
    });
  const isFine = (result) => !result.error && result.status === 0;
  let result = apt('install', '--no-install-recommends', ...packages);
  if (!isFine(result) && !result.error && isFine(apt('update')))
    result = apt('install', '--no-install-recommends', ...packages);
  if (isFine(result)) return null;
  return result.error?.message ?? (result.stderr.trim().split('\n').at(-1) || `exit code ${result.status}`);
}

/** npm packages with llama.cpp's binaries, some 80 MB, beside which exports are tested. It never fails: those tests are then skipped by name. */
function installLlamaCpp() {
  if (process.env.ACCRETE_NO_LLAMA) return;
  if (existsSync(inClone(`.accrete/bench/node-llama-cpp-${llamaVersion()}`))) return;
  const args = ['--import', 'tsx', inClone('scripts/install-llama.ts')];
  spawnSync(process.execPath, args, { cwd: inClone('.'), stdio: ['ignore', 2, 2], timeout: aptLimitMs });
}

const llamaVersion = () => readJson('scripts/llama/package.json').dependencies['node-llama-cpp'];

/** Changes whenever something changes that the corpus is made by. */
function corpusKey() {
  const hash = createHash('sha256');
  const makers = [
    'bpe-trainer',
    'catalog',
    'clean-text',
    'corpus-sources',
    'pre-tokenizer',
    'prepare-corpus',
    'shards',
  ];
  for (const name of [...makers, 'tokenizer-files']) hash.update(readFileSync(inClone(`src/data/${name}.ts`)));
  return hash.digest('hex');
}

/** Whether a preset's folder was prepared under this key and still has all its files in their sizes. */
function isPrepared(preset, key) {
  const folder = `.accrete/corpus/${preset}`;
  try {
    if (readFileSync(inClone(`${folder}/prepared-by`), 'utf8') !== key) return false;
    const catalog = readJson(`${folder}/catalog.json`);
    return [catalog.tokenizer, catalog.tokenizerConfig, ...catalog.shards].every(
      (entry) => statSync(inClone(`${folder}/${entry.file}`)).size === entry.artifact.sizeBytes,
    );
  } catch {
    return false; // whatever is wrong with it, preparing it anew is the cure
  }
}

function prepareCorpus({ presets, force }) {
  const key = corpusKey();
  const wanted = presets.filter((preset) => force || !isPrepared(preset, key));
  if (wanted.length === 0) return;
  say(`preparing the text corpus (${wanted.join(', ')})`);
  const startMs = performance.now();
  const args = ['--import', 'tsx', inClone('scripts/prepare-corpus.ts'), inClone('.accrete/corpus'), ...wanted];
  const result = spawnSync(process.execPath, args, { cwd: inClone('.'), stdio: ['ignore', 2, 2] });
  if (result.status !== 0) throw new SetupError('the text corpus could not be prepared; the reason is above', 1);
  for (const preset of wanted) writeFileSync(inClone(`.accrete/corpus/${preset}/prepared-by`), key);
  say(`text corpus ready in ${seconds(startMs)}`);
}

/** What the dashboard is made of; the protocol's code is part of it. */
const siteSources = ['web/src', 'web/public', 'web/index.html', 'web/vite.config.ts', 'src/protocol', 'src/util'];

/** Of a file, or of the newest file below a folder. */
function changedAtMs(path) {
  const stat = statSync(inClone(path), { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(inClone(path)).map((name) => changedAtMs(`${path}/${name}`)));
}

/** A run needs no dashboard: a build that fails is told, and nothing is stopped by it. */
function buildSite(force) {
  if (!force && changedAtMs('web/dist/index.html') > Math.max(...siteSources.map(changedAtMs))) return;
  say('building the dashboard');
  const startMs = performance.now();
  const args = [inClone('node_modules/vite/bin/vite.js'), 'build', 'web', '--logLevel', 'error'];
  const result = spawnSync(process.execPath, args, { cwd: inClone('.'), stdio: ['ignore', 2, 2] });
  if (result.status === 0) say(`dashboard built in ${seconds(startMs)}`);
  else say('the dashboard could not be built; the reason is above. Everything else works without it');
}

const seconds = (startMs) => `${((performance.now() - startMs) / 1000).toFixed(1)} s`;

try {
  const options = parseArguments(process.argv.slice(2));
  checkNode();
  install(options.forTests);
  checkEngine();
  prepareCorpus(options);
  buildSite(options.force);
  if (options.forTests) {
    installDebianPackages();
    installLlamaCpp();
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = error.exitCode;
}
