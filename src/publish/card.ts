/**
 * @file The README.md of a published release: what the model is, what it learned from and how, what was measured beside its
 * parents, how to check all that against the record, what it must not be taken for, and how to run each file.
 */
import type { EvalReport } from '../evaluation/eval-report.ts';
import { licenceOf, type ModelView } from '../export/model-view.ts';
import { countParameters } from '../model/quasar-long/contract.ts';
import type { RunFacts } from './run-facts.ts';

/** A file or folder beside the checkpoint's own. */
export interface PublishedExport {
  readonly kind: 'gguf' | 'mlx';
  /** `gguf/name-Q8_0.gguf`, `mlx`. */
  readonly path: string;
  readonly type: string;
  /** Of a hybrid model's GGUF: what leaving its branches out costs, nats a token. */
  readonly backbone?: { readonly kl: number; readonly lossGap: number };
  /** MLX: the model is a Python file beside the weights. */
  readonly needsTrust?: boolean;
}

export interface PublishedCard {
  readonly view: Pick<ModelView, 'name' | 'config' | 'readme'>;
  readonly tag: string;
  /** `owner/name`; null where it goes to a folder. */
  readonly repo: string | null;
  /** Null: no journal lies with the checkpoint. */
  readonly run: RunFacts | null;
  readonly evaluation: EvalReport | null;
  /** Of releases before it, oldest first. */
  readonly parents: readonly EvalReport[];
  readonly exports: readonly PublishedExport[];
}

/** Markdown; text from outside cannot break a table or the front matter. */
export function renderPublishedCard(card: PublishedCard): string {
  const { view, run } = card;
  return [
    ...frontMatter(card),
    `# ${line(view.name)}`,
    '',
    summaryOf(card),
    ...table('Model', modelRows(card)),
    ...dataSection(run),
    ...(run === null ? [] : table('Recipe', run.recipe)),
    ...evaluationSection(card),
    ...runningSection(card),
    ...recordSection(card),
    ...limitsSection(card),
    '',
  ].join('\n');
}

function frontMatter({ view, exports }: PublishedCard): string[] {
  const kinds = [...new Set(exports.map(({ kind }) => kind))];
  const tags = ['quasar_long', 'mixture-of-experts', 'linear-attention', 'accrete', ...kinds];
  return [
    '---',
    `license: ${JSON.stringify(licenceOf(view.readme) ?? 'other')}`,
    'pipeline_tag: text-generation',
    `tags: ${JSON.stringify(tags)}`,
    '---',
    '',
  ];
}

function summaryOf({ run, tag }: PublishedCard): string {
  if (run === null)
    return `A checkpoint of the \`quasar_long\` architecture, published as \`${tag}\`. No record lay beside it, so nothing here proves where it came from.`;
  return `Release ${run.release} of the run ${line(run.runName)}: a \`quasar_long\` model that the learners of an Accrete network trained, assembled from ${count(run.merges)} recorded merges. Anybody can recompute it from the run's record.`;
}

function modelRows({ view: { config } }: PublishedCard): readonly Row[] {
  const { total, active } = countParameters(config);
  const hybrid = config.hybrid_attention_layers.length;
  return [
    ['Parameters', count(total)],
    ['Active per token', count(active)],
    ['Layers', `${config.num_hidden_layers}, of which ${hybrid} have a linear branch beside attention`],
    ['Experts', `${config.num_experts} a layer, ${config.num_experts_per_tok} of them per token`],
    ['Vocabulary', count(config.vocab_size)],
    ['Positions', count(config.max_position_embeddings)],
  ];
}

function dataSection(run: RunFacts | null): string[] {
  if (run === null) return [];
  const phases = run.phases.map(
    ({ name, tokens, target }): Row => [`Phase ${line(name)}`, `${count(tokens)} of ${count(target)} tokens`],
  );
  return [
    ...table('Training data', [['Counted tokens', count(run.countedTokens)], ...phases]),
    '',
    '| source | counted tokens | licence |',
    '|---|---|---|',
    ...run.sources.map(({ name, tokens, licence }) => `| ${cell(name)} | ${count(tokens)} | ${cell(licence)} |`),
    '',
    'A token is counted when the work on it was merged; sources share them as the mixture of each phase says.',
  ];
}

function evaluationSection({ run, evaluation, parents }: PublishedCard): string[] {
  return [...journaled(run), ...measured(evaluation, parents)];
}

/** Losses that validators signed, by release. */
function journaled(run: RunFacts | null): string[] {
  const columns = run?.evaluations ?? [];
  if (columns.length === 0) return [];
  const stages = [...new Set(columns.flatMap(({ losses }) => [...losses.keys()]))].sort();
  const head = columns.map(({ release }) =>
    release === run!.release ? `**release ${release}**` : `release ${release}`,
  );
  return [
    '',
    '## Evaluation',
    '',
    'Loss in nats a token on text that is never trained on, and the share of right answers of tasks, as validators signed them in the record:',
    '',
    `| | ${head.join(' | ')} |`,
    `|---|${columns.map(() => '---|').join('')}`,
    ...stages.map(
      (stage) => `| ${cell(stage)} | ${columns.map(({ losses }) => fixed(losses.get(stage))).join(' | ')} |`,
    ),
  ];
}

const fixed = (value: number | undefined): string => value?.toFixed(4) ?? '';

/** Of `accrete eval`: not in the record, but anybody can repeat it. */
function measured(evaluation: EvalReport | null, parents: readonly EvalReport[]): string[] {
  if (evaluation === null) return [];
  const columns = [...parents, evaluation];
  const rows = [
    ...Object.entries(evaluation.texts).map(([name, own]) => [
      `Loss, ${cell(name)} (95 %)`,
      ...columns.map((each) => withInterval(each === evaluation ? own.loss : each.texts[name]?.loss, fixed)),
    ]),
    ...Object.entries(evaluation.texts).map(([name]) => [
      `Bits a byte, ${cell(name)}`,
      ...columns.map((each) => fixed(each.texts[name]?.bitsPerByte?.value)),
    ]),
    ...Object.entries(evaluation.tasks).flatMap(([name, { shots, chance }]) => [
      [
        `acc, ${cell(name)}, ${shots}-shot (guessing ${percent(chance)})`,
        ...columns.map((each) => withInterval(each.tasks[name]?.acc, percent)),
      ],
      [
        `acc_norm, ${cell(name)}, ${shots}-shot`,
        ...columns.map((each) => withInterval(each.tasks[name]?.accNorm, percent)),
      ],
    ]),
  ];
  return [
    '',
    '## Measured with accrete eval',
    '',
    `Not part of the record; \`eval.json\` has the numbers, and \`accrete eval --checkpoint . --seed ${evaluation.seed}\` repeats them.`,
    '',
    `| | ${columns.map(({ checkpoint }) => (checkpoint === evaluation.checkpoint ? `**${cell(checkpoint)}**` : cell(checkpoint))).join(' | ')} |`,
    `|---|${columns.map(() => '---|').join('')}`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ];
}

type Estimate = EvalReport['tasks'][string]['acc'];

function withInterval(estimate: Estimate | undefined, show: (value: number) => string): string {
  if (estimate === undefined) return '';
  const { value, low, high } = estimate;
  return low === null || high === null ? show(value) : `${show(value)} (${show(low)} to ${show(high)})`;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;

const isHybrid = ({ config }: PublishedCard['view']): boolean => config.hybrid_attention_layers.length > 0;

function runningSection({ view, repo, tag, exports }: PublishedCard): string[] {
  const fetch = repo === null ? [] : [`hf download ${repo} --revision ${tag} --local-dir model && cd model`];
  const gguf = exports.filter(({ kind }) => kind === 'gguf');
  const mlx = exports.filter(({ kind }) => kind === 'mlx');
  return [
    ...['', '## Running it', ''],
    ...commands('Accrete, the whole model', [...fetch, "accrete generate --checkpoint . --prompt 'The people of'"]),
    ...gguf.flatMap(({ path, type, backbone }) =>
      commands(
        backbone === undefined
          ? `llama.cpp and Ollama, ${type}`
          : `llama.cpp, ${type}: the softmax backbone alone, another model (${backbone.lossGap.toFixed(4)} nats a token more loss, divergence ${backbone.kl.toFixed(4)})`,
        [
          `llama-completion -m ${path} -no-cnv -n 64 -p 'The people of'`,
          ...(backbone === undefined ? [`ollama create accrete -f ${path.replace(/\.gguf$/, '.Modelfile')}`] : []),
        ],
      ),
    ),
    ...mlx.flatMap(({ path, type, needsTrust }) =>
      commands(`MLX, ${type}`, [
        `mlx_lm.generate --model ${path}${needsTrust === true ? ' --trust-remote-code' : ''} --prompt 'The people of'`,
      ]),
    ),
    ...(gguf.length > 0 && mlx.length > 0
      ? []
      : [
          `Other formats: \`accrete export --checkpoint . --to ${gguf.length > 0 || isHybrid(view) ? 'mlx' : 'gguf'} --out …\`.`,
        ]),
  ];
}

const commands = (title: string, lines: readonly string[]): string[] => [
  ...[`${title}:`, '', '```sh'],
  ...lines,
  ...['```', ''],
];

function recordSection({ run }: PublishedCard): string[] {
  if (run === null) return [];
  return [
    ...table('Record', [
      ['Run', run.runId],
      ['Release id', run.releaseId],
      ['Parent', run.parentId ?? 'none, it is the start'],
      ['Tree head', `${run.treeHead} over ${count(run.treeSize)} events`],
      ['State hash', run.stateHash],
    ]),
    '',
    '`release.json` names every file of the release by the root of its Merkle tree (SHA-256 over 4 MiB pieces), as the record does;',
    'this README.md (the record has a shorter one), `eval.json` and exports were added when it was published. To check it, have a',
    `copy of the record recomputed by \`accrete verify URL\` (an orchestrator or mirror of the run): its release ${run.release} must have the id and the`,
    'tree head above.',
  ];
}

function limitsSection({ view, run, exports }: PublishedCard): string[] {
  const { config } = view;
  const perParameter = run === null ? null : run.countedTokens / countParameters(config).total;
  const limits = [
    ...(perParameter !== null && perParameter < 20
      ? [
          `It saw ${perParameter < 0.1 ? perParameter.toExponential(1) : perParameter.toFixed(1)} tokens a parameter, far from enough: expect text that is fluent for a few words at best.`,
        ]
      : []),
    'It is a base model: no instructions were taught, nothing keeps it from false, offensive or private text that its data holds.',
    'Intervals say how results vary with other questions of a kind, not with another training run; they are no safety test.',
    ...(isHybrid(view)
      ? [
          'Programs that know only its softmax attention (llama.cpp, vLLM) compute another model; see above for which file is which.',
        ]
      : []),
    ...(exports.some(({ kind }) => kind === 'mlx')
      ? ['The MLX files follow MLX’s documentation and agree with a numpy stand-in; they have not run on MLX here.']
      : []),
  ];
  return ['', '## Limits', '', ...limits.map((limit) => `- ${limit}`)];
}

type Row = readonly [label: string, value: string];

const table = (title: string, rows: readonly Row[]): string[] => [
  ...['', `## ${title}`, '', '| | |', '|---|---|'],
  ...rows.map(([label, value]) => `| ${cell(label)} | ${cell(value)} |`),
];

const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const line = (text: string): string => text.replace(/\s+/g, ' ').trim();
const cell = (text: string): string => line(text).replaceAll('|', '\\|');
