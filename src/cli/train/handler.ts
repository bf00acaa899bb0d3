/** @file Does `accrete train`: trains until its end or Ctrl-C, prints the losses, writes a checkpoint folder. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readCatalogFile } from '../../data/prepared.ts';
import { writeHuggingFaceFolder } from '../../export/hugging-face.ts';
import { toConfigJson } from '../../model/quasar-long/config.ts';
import { storageOf } from '../../roles/orchestrator/release-writer.ts';
import {
  encodeLearner,
  type LearnerIdentity,
  type LearnerParts,
  type LearnerProgress,
  learnerCheckpointBytes,
  restoreLearner,
} from '../../training/learner-checkpoint.ts';
import { wholeParams } from '../../training/model-state.ts';
import type { RouterHealth } from '../../training/router-health.ts';
import { type TrainLocalEvent, type TrainLocalSummary, trainLocal } from '../../training/train-local.ts';
import { nodeSha256 } from '../../util/node-sha256.ts';
import type { Handler } from '../command.ts';
import { ensureCorpus } from '../corpus.ts';
import { formatCount, formatDuration, formatLoss } from '../output.ts';
import { corpusDir, typedPath } from '../paths.ts';
import { readLearnerFile, writeLearnerFile } from './learner-file.ts';
import { parseTrainOptions, type TrainOptions } from './options.ts';
import { openTrainer, type Trainer } from './trainer.ts';

const reportEverySteps = 20;

export const handle: Handler = async (settings, io) => {
  const options = parseTrainOptions(settings);
  ensureCorpus(options.preset);
  const trainer = await openTrainer(options);
  const say = options.json ? io.out : io.err;
  try {
    const { schedule } = trainer.settings;
    const learner = { ...trainer, identity: identityOf(trainer, options), hash: nodeSha256 };
    const start = options.resume === null ? { steps: 0, tokens: 0 } : resumeLearner(options.resume, learner, trainer);
    const summary = await trainLocal(
      {
        batch: trainer.batch,
        schedule,
        steps: options.steps,
        minutes: options.minutes,
        tokens: null,
        reportEverySteps,
        start,
        saveEverySteps: options.saveEvery,
      },
      {
        ...trainer.parts,
        save: async (done) => {
          if (options.save === null) return;
          const { skippedInARow } = trainer.parts.loop;
          writeLearnerFile(options.save, encodeLearner(learner, { ...done, skippedInARow }));
        },
        clock: { nowMs: () => Date.now(), sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}) },
        signal: io.stop,
        onEvent: (event) => say(options.json ? JSON.stringify(event) : formatTrainEvent(event)),
      },
    );
    const checkpoint = await writeCheckpoint(trainer, options, summary);
    if (options.json) io.out(JSON.stringify({ kind: 'summary', ...summary, checkpoint }));
    else for (const line of formatTrainSummary(summary, typedPath(checkpoint, io.cwd))) io.out(line);
    return 0;
  } finally {
    await trainer.close();
  }
};

/** Whatever the next step depends on. Threads and machine, which may change its last bits, are the operator's to choose. */
function identityOf({ model, batch, settings }: Trainer, options: TrainOptions): LearnerIdentity {
  return {
    seed: String(options.seed),
    config: JSON.stringify(toConfigJson(model.config)),
    ...fieldsOf('recipe', settings.recipe),
    ...fieldsOf('schedule', settings.schedule),
    sequences: `${batch} of ${settings.sequenceLength}`,
  };
}

/** One entry a field, so that a refusal says which one differs. */
const fieldsOf = (of: string, fields: object): LearnerIdentity =>
  Object.fromEntries(Object.entries(fields).map(([name, value]) => [`${of}.${name}`, JSON.stringify(value)]));

function resumeLearner(folder: string, learner: LearnerParts, { parts }: Trainer): LearnerProgress {
  const progress = restoreLearner(learner, readLearnerFile(folder, learnerCheckpointBytes(learner)));
  parts.loop.skippedInARow = progress.skippedInARow;
  return progress;
}

function formatTrainEvent(event: TrainLocalEvent): string {
  if (event.kind === 'held-out') {
    const { losses } = event;
    return `held-out loss at the ${event.when}: ${formatLoss(losses['held-out'])}, another source ${formatLoss(losses['held-out-other'])}`;
  }
  return `step ${event.step}: ${formatCount(event.tokens)} tokens, loss ${formatLoss(event.loss)}, ${formatCount(event.tokensPerSecond)} tokens/s, gradient norm ${event.gradNorm.toFixed(2)}, expert imbalance ${event.imbalance.toFixed(2)}${formatRouters(event.routers)}`;
}

/** The worst of all layers; `--json` has each. */
function formatRouters(routers: readonly RouterHealth[]): string {
  if (routers.length === 0) return '';
  const entropy = Math.min(...routers.map((router) => router.entropy));
  const dead = routers.reduce((sum, { deadExperts }) => sum + deadExperts, 0);
  return `, entropy ${entropy.toFixed(3)}, dead experts ${dead}`;
}

function formatTrainSummary(summary: TrainLocalSummary, checkpoint: string): string[] {
  const fall = (stage: string): string =>
    `${formatLoss(summary.heldOutBefore[stage])} → ${formatLoss(summary.heldOutAfter[stage])} nats a token`;
  return [
    `time           ${formatDuration(summary.trainingMs)}`,
    `held-out loss  ${fall('held-out')}`,
    `another source ${fall('held-out-other')}`,
    `tokens         ${formatCount(summary.tokens)} in ${formatCount(summary.steps)} inner steps, ${formatCount(summary.tokensPerSecond)} a second`,
    `checkpoint     ${checkpoint}`,
    '',
    'Type next:',
    `  ./bin/accrete generate --checkpoint ${checkpoint} --prompt "The people of"`,
  ];
}

async function writeCheckpoint(trainer: Trainer, options: TrainOptions, summary: TrainLocalSummary): Promise<string> {
  const { model, corpus, settings } = trainer;
  mkdirSync(options.dir, { recursive: true });
  let number = 1;
  while (existsSync(join(options.dir, `checkpoint-${number}`))) number++;
  const folder = join(options.dir, `checkpoint-${number}`);
  const copy = (entry: typeof corpus.catalog.tokenizer): Uint8Array =>
    readCatalogFile(corpusDir, corpus.catalog, entry);
  const trained = corpus.catalog.shards.filter((shard) => shard.stage === 'train');
  await writeHuggingFaceFolder(folder, {
    config: model.config,
    params: wholeParams(model),
    ...storageOf({ recipe: settings.recipe, release: { dtype: options.dtype } }, model.contract),
    files: new Map([
      ['tokenizer.json', copy(corpus.catalog.tokenizer)],
      ['tokenizer_config.json', copy(corpus.catalog.tokenizerConfig)],
    ]),
    card: {
      name: `accrete ${options.preset}, trained alone`,
      licence: 'apache-2.0',
      summary: `A quasar_long model of preset ${options.preset}, trained on one machine by accrete train with seed ${options.seed}.`,
      numbers: [
        ['Held-out loss', `${formatLoss(summary.heldOutAfter['held-out'])} nats/token`],
        ['Held-out loss, another source', `${formatLoss(summary.heldOutAfter['held-out-other'])} nats/token`],
        ['Tokens', formatCount(summary.tokens)],
        ['Inner steps', formatCount(summary.steps)],
      ],
      sources: trained.map(({ source, tokens, licence }) => ({ name: source, tokens, licence })),
      notes: ['A small model that shows a training system; it is no source of facts.'],
    },
  });
  return folder;
}
