/** @file The run itself: parameter contract, plan, start checkpoint from the seed; and counts of what the fold's rules checked. */
import { packFragment } from '../merge/fragment-values.ts';
import { floatsOf, initTensor, type TensorValues } from '../model/quasar-long/init.ts';
import type { EventKind } from '../protocol/messages.ts';
import { encodeState } from '../roles/merge-computation.ts';
import type { RunModel } from '../roles/run-model.ts';
import { type Check, divergenceAt, type Visit, type WalkContext } from './check.ts';
import type { CheckName } from './findings.ts';

type RunVisit = Extract<Visit, { kind: 'run' }>;

export const runCheck: Check = {
  async after(visit, context) {
    if (visit.kind !== 'run' || context.model === null) return;
    const { findings, model } = context;
    findings.count('manifest', 'tensors of the contract', model.contract.length);
    findings.count('manifest', 'fragments', model.plan.fragments.length);
    if (!context.isHeavy) return;
    const { start } = visit.body.manifest;
    if (start === undefined) checkStart(visit, model, context);
    else
      findings.note(
        'manifest',
        `the start fragments are the owner's word: of the checkpoint ${start.source}, not of the seed`,
      );
  },
};

/** The start checkpoint is what the seed gives. One fragment's tensors are in memory at a time. */
function checkStart(visit: RunVisit, { config, contract, plan }: RunModel, context: WalkContext): void {
  const { manifest, start } = visit.body;
  let params = new Map<string, TensorValues>();
  const specs = new Map(contract.map((spec) => [spec.name, spec]));
  for (const fragment of plan.fragments) {
    const names = new Set([...fragment.slices, ...fragment.selectionBiases].map(({ name }) => name));
    const known = params;
    params = new Map(
      [...names].map((name) => [name, known.get(name) ?? initTensor(config, specs.get(name)!, manifest.seed)]),
    );
    const made = context.artifactOf(
      encodeState(
        fragment,
        packFragment(fragment, (name) => floatsOf(params, name)),
      ),
    );
    context.findings.count('manifest', 'start fragments recomputed');
    const named = start[fragment.id]!;
    if (made.root === named.root && made.sizeBytes === named.sizeBytes) continue;
    const expected = `start of fragment ${fragment.id}: ${made.root} of ${made.sizeBytes} bytes, from the seed`;
    context.findings.fail(divergenceAt('manifest', visit, expected, `${named.root} of ${named.sizeBytes} bytes`));
  }
}

const counted: { readonly [K in EventKind]?: readonly [CheckName, string] } = {
  delegate: ['membership', 'delegations'],
  amendment: ['manifest', 'amendments by the owner'],
  'phase-change': ['leases', 'phase changes'],
  join: ['membership', 'joins'],
  'tree-head': ['tree heads', 'heads recomputed'],
  lease: ['leases', 'leases in the order of the seed'],
  'lease-return': ['leases', 'returns'],
  'claim-commit': ['claims', 'commits'],
  'claim-reveal': ['claims', 'reveals'],
  'claim-void': ['claims', 'voided'],
  'claim-beacon': ['beacons', 'draws'],
  verdict: ['verdicts', 'verdicts'],
  merge: ['merges', 'merges of exactly the accepted claims'],
  'fragment-published': ['fragments', 'versions'],
  release: ['releases', 'releases'],
  'segment-attested': ['segments', 'attestations'],
  'audit-challenge': ['audits', 'audits drawn'],
  'audit-answer': ['audits', 'answers'],
  'audit-verdict': ['audits', 'verdicts'],
};

/** What the fold's rules have checked by admitting an entry. */
export const countingCheck: Check = {
  async after(visit, { findings }) {
    findings.count('journal', 'entries');
    findings.count('tree heads', 'entries in the tree');
    if (visit.kind === 'release') findings.count('segments', 'state hashes recomputed');
    const of = counted[visit.kind];
    if (of !== undefined) findings.count(of[0], of[1]);
  },
  async end({ findings, state }) {
    const scored = [...state.hotkeys.values()].filter(({ score, verdictScore }) => score > 0 || verdictScore > 0);
    if (state.run !== null) findings.count('scores', 'hotkeys with a score', scored.length);
  },
};
