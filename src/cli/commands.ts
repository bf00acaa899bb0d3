/** @file The commands, in the order of the help. */
import { appeal } from './appeal/index.ts';
import { chat } from './chat/index.ts';
import type { CommandDeclaration } from './command.ts';
import { doctor } from './doctor/index.ts';
import { evalModel } from './eval/index.ts';
import { evalNeedle } from './eval-needle/index.ts';
import { explain } from './explain/index.ts';
import { exportModel } from './export/index.ts';
import { generate } from './generate/index.ts';
import {
  ledgerAnchors,
  ledgerMetagraph,
  ledgerRegister,
  ledgerStake,
  ledgerStatus,
  ledgerWeights,
  ledgerYuma,
} from './ledger/index.ts';
import { logits } from './logits/index.ts';
import { mine } from './mine/index.ts';
import { modelCheck } from './model-check/index.ts';
import { modelCount } from './model-count/index.ts';
import { orchestrate } from './orchestrate/index.ts';
import { plan } from './plan/index.ts';
import { publish } from './publish/index.ts';
import { pull } from './pull/index.ts';
import { replay } from './replay/index.ts';
import { runAmend, runDiff, runInit, runShow } from './run/index.ts';
import { serve } from './serve/index.ts';
import { simulate } from './simulate/index.ts';
import { snapshot } from './snapshot/index.ts';
import { status } from './status/index.ts';
import { train } from './train/index.ts';
import { up } from './up/index.ts';
import { validate } from './validate/index.ts';
import { verify } from './verify/index.ts';
import {
  walletDelegate,
  walletImport,
  walletList,
  walletNew,
  walletShow,
  walletSign,
  walletVerify,
} from './wallet/index.ts';

export const commands: readonly CommandDeclaration[] = [
  up,
  orchestrate,
  runInit,
  runShow,
  runDiff,
  runAmend,
  mine,
  validate,
  appeal,
  replay,
  train,
  pull,
  chat,
  generate,
  serve,
  evalModel,
  evalNeedle,
  simulate,
  exportModel,
  plan,
  publish,
  logits,
  status,
  explain,
  snapshot,
  verify,
  ledgerStatus,
  ledgerMetagraph,
  ledgerRegister,
  ledgerStake,
  ledgerWeights,
  ledgerAnchors,
  ledgerYuma,
  walletNew,
  walletList,
  walletImport,
  walletShow,
  walletSign,
  walletVerify,
  walletDelegate,
  doctor,
  modelCheck,
  modelCount,
];
