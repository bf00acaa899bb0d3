/** @file `releases`, `record` and `rewards`. */
import { manifestOf, mergesInSegment, treeHeadOf } from '../../journal/queries.ts';
import type { ReleaseRecord, RunState } from '../../journal/state.ts';
import type { ApiRecord, ApiRelease, ApiReleaseRow, ApiReleases, ApiRewards } from '../../protocol/api/record.ts';
import { pieceBytes } from '../../protocol/artifact.ts';
import { fromDecimal } from '../../protocol/names.ts';
import { meanRouters, routersOf } from '../routers.ts';
import { meanLosses } from './run-answers.ts';
import { type EpochView, type LedgerView, NotThere, type Sources, tokensOf } from './sources.ts';

const maxReleases = 1_000;
const maxRows = 500;
const maxPaid = 256;
const maxCardLength = 262_144;

export function answerReleases({ state, asOf }: Sources): ApiReleases {
  const rows = state.releases.slice(-maxReleases).reverse();
  return { asOf, rows: rows.map((record) => releaseRowOf(state, record)), total: state.releases.length };
}

function releaseRowOf(state: RunState, record: ReleaseRecord): ApiReleaseRow {
  const { release, parent, countedTokens } = record.body;
  const evaluations = state.evaluations.filter((each) => each.release === release);
  return {
    ...{ release, id: record.id, parent, seq: record.seq, atMs: record.atMs, merges: record.merges },
    countedTokens: fromDecimal(countedTokens),
    mergesInSegment: release === 0 ? 0 : mergesInSegment(state, release),
    losses: meanLosses(evaluations),
    routers: meanRouters(evaluations.flatMap(({ routers }) => routersOf(routers) ?? [])),
    evaluations: evaluations.length,
    attestedBy: [...record.attestedBy],
    fileCount: record.files.length,
    sizeBytes: record.files.reduce((sum, { artifact }) => sum + artifact.sizeBytes, 0),
  };
}

/** @throws NotThere */
export async function answerRelease(
  { state, asOf, modelCard }: Sources,
  { release }: { readonly release: number },
): Promise<ApiRelease> {
  const record = state.releases[release];
  if (record === undefined)
    throw new NotThere(`there is no release ${release}; the newest is ${state.releases.length - 1}`);
  const { versions, tokensBySource, treeHead, stateHash } = record.body;
  const card = await modelCard(release);
  return {
    asOf,
    ...releaseRowOf(state, record),
    ...{ versions: [...versions], tokensBySource: { ...tokensBySource }, treeHead, stateHash, pieceBytes },
    evaluationDetails: state.evaluations
      .filter((each) => each.release === release)
      .map(({ hotkey, losses, sequences, routers, atMs }) => ({
        ...{ validator: hotkey, sequences, atMs, routers: routersOf(routers) },
        losses: Object.fromEntries(Object.entries(losses).map(([stage, loss]) => [stage, fromDecimal(loss)])),
      })),
    files: record.files.map(({ name, artifact }) => ({
      ...{ name, artifact, storePath: `/store/${artifact.root}`, filePath: `/releases/${release}/${name}` },
    })),
    commands: commandsFor(record),
    modelCard: card === null ? null : card.slice(0, maxCardLength),
  };
}

function commandsFor({ body: { release }, files }: ReleaseRecord): ApiRelease['commands'] {
  const folder = `.accrete/release-${release}`;
  const pull = { what: 'download', command: `./bin/accrete pull {url} --release ${release} --out ${folder}` };
  return [
    ...(files.length > 0 ? [pull] : []),
    { what: 'chat', command: `./bin/accrete chat --checkpoint ${folder}` },
    { what: 'chat', command: `./bin/accrete chat --checkpoint {url} --release ${release}` },
    { what: 'generate', command: `./bin/accrete generate --checkpoint ${folder} --prompt "The people of"` },
    { what: 'gguf', command: `./bin/accrete export --checkpoint ${folder} --to gguf --type F16 --out model.gguf` },
    { what: 'mlx', command: `./bin/accrete export --checkpoint ${folder} --to mlx --out model-mlx` },
    { what: 'verify', command: './bin/accrete verify {url}' },
  ];
}

export async function answerRecord(sources: Sources): Promise<ApiRecord> {
  const { state, asOf, index } = sources;
  const ledger = await sources.ledger();
  const marks = new Map((await index.marks('tree-head', maxRows)).map(({ seq, atMs }) => [seq, atMs]));
  return {
    asOf,
    treeHead: treeHeadOf(state),
    treeHeads: state.treeHeads
      .slice(-maxRows)
      .reverse()
      .map(({ size, root, block, seq }) => ({
        ...{ size, root, block, seq, atMs: marks.get(seq) ?? 0 },
        isAnchored: ledger === null ? null : ledger.anchored.has(root),
      })),
    treeHeadCount: state.treeHeads.length,
    commitment: ledger?.commitment ?? null,
    segments: segmentsOf(state),
    eventCounts: Object.fromEntries([...state.eventCounts].sort()),
    verifyCommand: './bin/accrete verify {url}',
  };
}

function segmentsOf(state: RunState): ApiRecord['segments'] {
  const required = manifestOf(state).release.attestations;
  return state.releases
    .slice(1)
    .slice(-maxRows)
    .reverse()
    .map((record) => {
      const { release, stateHash } = record.body;
      const before = state.releases[release - 1]!;
      return {
        ...{ release, stateHash, required, attestedBy: [...record.attestedBy] },
        ...{ fromSeq: before.seq, toSeq: record.seq, merges: mergesInSegment(state, release) },
      };
    });
}

export async function answerRewards(sources: Sources): Promise<ApiRewards> {
  const { state, asOf } = sources;
  const ledger = await sources.ledger();
  const scored = new Map(
    state.tempo.history.map(({ tempo, work }) => [
      tempo,
      {
        scoredTokens: tokensOf(
          state,
          work.reduce((sum, { cellTokens }) => sum + cellTokens, 0),
        ),
        verdicts: work.reduce((sum, { verdicts }) => sum + verdicts, 0),
      },
    ]),
  );
  const epochs = ledger?.epochs ?? [];
  const tempos = epochs.map(({ tempo, block, minerRao, validatorRao, ownerRao }, i) => {
    // A chain's first epoch comes before any tempo is scored.
    const isPaidLater = epochs[i + 1]?.tempo === tempo;
    const { scoredTokens = 0, verdicts = 0 } = (isPaidLater ? undefined : scored.get(tempo)) ?? {};
    const perMillion = scoredTokens > 0 ? (minerRao / scoredTokens) * 1e6 : null;
    return {
      ...{ tempo, block, minerRao, validatorRao, ownerRao, scoredTokens, verdicts },
      minerRaoPerMillionTokens: perMillion,
    };
  });
  const sum = (of: (each: (typeof tempos)[number]) => number): number =>
    tempos.reduce((total, each) => total + of(each), 0);
  return {
    ...{ asOf, tempos },
    totals: {
      minerRao: sum(({ minerRao }) => minerRao),
      validatorRao: sum(({ validatorRao }) => validatorRao),
      ownerRao: sum(({ ownerRao }) => ownerRao),
      scoredTokens: sum(({ scoredTokens }) => scoredTokens),
    },
    payout: payoutOf(state, tempos),
    latest: latestPaid(state, ledger),
  };
}

/** Over the tempos that scored work and paid miners for it. */
function payoutOf(state: RunState, all: ApiRewards['tempos']): ApiRewards['payout'] {
  const tempos = all.filter(({ scoredTokens, minerRao }) => scoredTokens > 0 && minerRao > 0);
  if (tempos.length === 0) return null;
  const sum = (of: (each: (typeof tempos)[number]) => number): number =>
    tempos.reduce((total, each) => total + of(each), 0);
  const { tempoBlocks, blockMs } = manifestOf(state).ledger;
  const tempoMs = tempoBlocks * blockMs;
  const days = (tempos.length * tempoMs) / 86_400_000;
  const [minerRao, scoredTokens] = [sum((each) => each.minerRao), sum((each) => each.scoredTokens)];
  const [validatorRao, ownerRao] = [sum((each) => each.validatorRao), sum((each) => each.ownerRao)];
  const paidRao = minerRao + validatorRao + ownerRao;
  return {
    minerRaoPerMillionTokens: (minerRao / scoredTokens) * 1e6,
    ...{ tempos: tempos.length, tempoMs },
    scoredTokensPerDay: scoredTokens / days,
    minerRaoPerDay: minerRao / days,
    ...{ ownerShare: ownerRao / paidRao, validatorShare: validatorRao / paidRao },
    note: 'from what was paid in these tempos for all scored tokens; more work by others lowers it, and scores fade with a half-life',
  };
}

function latestPaid(state: RunState, ledger: LedgerView | null): ApiRewards['latest'] {
  const paid: EpochView['paid'] = ledger?.epochs.at(-1)?.paid ?? new Map();
  const names = new Map([...state.delegations.values()].map(({ hotkey, name }) => [hotkey, name]));
  return [...paid]
    .map(([hotkey, rao]) => ({ hotkey, name: names.get(hotkey) ?? '', ...rao }))
    .filter(({ minerRao, validatorRao }) => minerRao + validatorRao > 0)
    .sort((a, b) => b.minerRao + b.validatorRao - a.minerRao - a.validatorRao || (a.hotkey < b.hotkey ? -1 : 1))
    .slice(0, maxPaid);
}
