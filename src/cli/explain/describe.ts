/** @file An explained hotkey as lines for people. */
import type { AuditExplained, ClaimExplained, HotkeyExplained } from '../../journal/explain.ts';
import type { Neuron } from '../../ledger/port.ts';
import { formatCount, formatPercent } from '../output.ts';
import { formatTable } from '../table.ts';

export interface Explained extends HotkeyExplained {
  /** Null if the ledger does not know it. */
  readonly ledger: Pick<Neuron, 'uid' | 'stakeRao' | 'emissionRao' | 'incentive'> | null;
}

export interface DescribeOptions {
  /** Newest claims; 0: all. */
  readonly last: number;
  /** Only refused and voided ones. */
  readonly refused: boolean;
}

export function describeHotkey(explained: Explained, options: DescribeOptions): string[] {
  const { hotkey, score, verdictScore, weight, openTempo, ledger, barred, forfeits, tempos, audits } = explained;
  const held =
    openTempo.heldTokens > 0
      ? `; ${formatCount(openTempo.heldTokens)} of earlier tempos wait for an audit to pass`
      : '';
  const cleared = openTempo.isCleared ? 'will be paid at its end' : 'waits for an audit to pass in this tempo';
  return [
    `hotkey ${hotkey}`,
    `score   ${formatCount(score)} tokens${verdictScore > 0 ? `, ${verdictScore.toFixed(1)} verdicts` : ''}: ${formatPercent(weight)} of the weights`,
    `tempo   ${formatCount(openTempo.tokens)} tokens merged in the open one, which ${cleared}${held}`,
    ledger === null
      ? 'ledger  not registered'
      : `ledger  uid ${ledger.uid}, stake ${formatCount(ledger.stakeRao)} rao, paid ${formatCount(ledger.emissionRao)} rao so far, incentive ${ledger.incentive.toFixed(4)}`,
    ...(barred === null ? [] : [`barred  ${barred}`]),
    ...(explained.isOnProbation
      ? ['held    an audit proved a fraud: claims are judged, and merged again once an audit has passed']
      : []),
    ...forfeits.map(
      ({ audit, code, tokens }) => `void    audit ${audit} (${code}) voided ${formatCount(tokens)} tokens`,
    ),
    '',
    ...formatTable(
      ['>tempo', '>tokens paid', '>held', '>verdicts', '>share'],
      tempos
        .slice(-8)
        .map((t) => [
          String(t.tempo),
          formatCount(t.tokens),
          formatCount(t.heldTokens),
          String(t.verdicts),
          formatPercent(t.share),
        ]),
    ),
    '',
    ...describeClaims(explained.claims, options),
    ...describeAudits(audits),
  ];
}

function describeClaims(claims: readonly ClaimExplained[], { last, refused }: DescribeOptions): string[] {
  const wanted = claims.filter(({ code }) => !refused || (code !== null && code !== 'OK'));
  const shown = last === 0 ? wanted : wanted.slice(-last);
  if (shown.length === 0) return [refused ? 'no claim was refused or voided' : 'no claims yet', ''];
  const rows = shown.map((claim) => [
    claim.claim.slice(0, 12),
    claim.learner,
    `${claim.outerStep}/${claim.fragment}`,
    `${claim.steps[0]}-${claim.steps[1]}`,
    claim.leases.join(' '),
    formatCount(claim.tokens),
    claim.status,
    claim.mergeShare === null ? '' : formatPercent(claim.mergeShare),
    claim.verdicts.map(({ code }) => code).join(' '),
  ]);
  const head = ['claim', 'learner', 'step/frag', 'steps', 'leases', '>tokens', 'status', '>share', 'verdicts'];
  const left = wanted.length - shown.length;
  return [
    ...(left > 0 ? [`${left} earlier claims are left out; --last 0 lists all`] : []),
    ...formatTable(head, rows),
    '',
    ...shown.flatMap(describeRefusal),
  ];
}

/** The numbers, the sentence, and what to change. */
function describeRefusal({ claim, code, sentence, verdicts, advice }: ClaimExplained): string[] {
  if (code === null || code === 'OK') return [];
  return [
    `${claim.slice(0, 12)} ${code}: ${sentence}`,
    ...verdicts.map(
      ({ validator, round, outcome, code, measurements }) =>
        `  ${validator.slice(0, 8)}… ${round}: ${outcome} ${code} ${numbers(measurements)}`,
    ),
    ...(advice === null ? [] : [`  what to do: ${advice}`]),
    '',
  ];
}

function describeAudits(audits: readonly AuditExplained[]): string[] {
  if (audits.length === 0) return [];
  const rows = audits
    .slice(-20)
    .map(({ audit, steps, reason, status, code, measurements }) => [
      String(audit),
      `${steps[0]}-${steps[1]}`,
      reason,
      status,
      code ?? '',
      numbers(measurements),
    ]);
  const failed = audits.filter(({ status }) => status === 'failed');
  return [
    ...formatTable(['>audit', 'steps', 'reason', 'status', 'code', ''], rows),
    ...failed.flatMap(({ audit, sentence, advice }) => [`audit ${audit}: ${sentence}`, `  what to do: ${advice}`]),
  ];
}

const numbers = (measurements: Readonly<Record<string, number>>): string =>
  Object.entries(measurements)
    .map(([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toPrecision(4)}`)
    .join(', ');
