/** @file A simulated fleet's result as text. */

import type { AttackOutcome } from '../../../simulate/fleet/attacked-fleet.ts';
import type { FairnessReport } from '../../../simulate/fleet/fairness.ts';
import type { FleetOutcome } from '../../../simulate/fleet/fleet-outcome.ts';
import { formatBytes, formatCount, formatPercent, formatShort } from '../../output.ts';
import { formatTable } from '../../table.ts';

const shown = 20;

export function formatFleet(outcome: FleetOutcome): string[] {
  const { claims, kinds, fairness, squareRule, faults } = outcome;
  const kindRows = kinds.map((kind) => [
    kind.kind,
    String(kind.machines),
    formatShort(kind.doneTokens),
    formatPercent(kind.utilisation),
    kind.fairness === null ? '-' : kind.fairness.map((x) => x.toFixed(3)).join(' to '),
  ]);
  const happened = [...Object.entries(faults), ...Object.entries(outcome.chaos).map(added)].filter(([, n]) => n > 0);
  return [
    `${outcome.name}, ${outcome.hours} virtual hours, seed ${outcome.seed}: ${outcome.learners} learners of ${outcome.hotkeys} hotkeys, ${outcome.validators} validators`,
    `${formatCount(outcome.events)} entries, ${formatBytes(outcome.journalBytes)}, head ${outcome.headHash}`,
    `${formatCount(claims.committed)} claims, ${formatCount(claims.merged)} merged, ${claims.refused} refused, ${claims.voided} voided; ${formatCount(outcome.merges)} merges; audits ${
      Object.entries(outcome.audits)
        .map(([status, count]) => `${count} ${status}`)
        .join(', ') || 'none'
    }`,
    `${formatShort(outcome.doneTokens)} tokens done, ${formatShort(outcome.mergedTokens)} merged; goodput ${formatPercent(outcome.goodput)}, uptime ${formatPercent(outcome.uptime)}; validators work ${formatPercent(outcome.validatorShare)} of the learners' time`,
    `modelled loss ${outcome.loss.toFixed(4)} nats a token`,
    `faults: ${happened.map(([name, count]) => `${name} ${count}`).join(', ') || 'none'}`,
    ...formatTable(['kind', '>machines', '>tokens done', '>utilisation', '>pay over work'], kindRows),
    ...formatFairness(fairness),
    `effective earners (1/Σ share²) ${fairness.effectiveEarners.toFixed(1)}, of the work itself ${fairness.effectiveWorkers.toFixed(1)}; under tokens²/steps with synchronised cohorts ${squareRule.effectiveEarners.toFixed(1)}`,
    ...(outcome.attack === null ? [] : formatAttack(outcome.attack)),
    ...outcome.notes.map((note) => `note: ${note}`),
    `again: ${outcome.command}`,
  ];
}

const added = ([kind, count]: [string, number]): [string, number] => [`${kind} by chaos`, count];

export function formatAttack(attack: AttackOutcome): string[] {
  const { name, about, miners, validators, earned, validatorsEarned, caughtBy, honestPay } = attack;
  const codes = Object.entries(caughtBy).map(([code, count]) => `${code} ${count}`);
  const owned = [...(miners > 0 ? [`${miners} hotkeys`] : []), ...(validators > 0 ? [`${validators} validators`] : [])];
  return [
    `${name} by ${owned.join(' and ')}: ${about}`,
    ...(earned === null ? [] : [`  earned ${earned.toFixed(3)} of what honest machines of the same speed earned`]),
    ...(validatorsEarned === null
      ? []
      : [`  each of its validators was paid ${validatorsEarned.toFixed(3)} of an honest one's pay`]),
    `  caught by ${codes.join(', ') || 'nothing'}`,
    `  honest machines: ${formatPercent(attack.honestPaid)} of the pay of all, with ${formatPercent(attack.honestCapacity)} of their speed; pay over work among them ${honestPay?.map((x) => x.toFixed(3)).join(' to ') ?? '-'}, ${formatPercent(attack.honestRefused)} of claims refused`,
  ];
}

function formatFairness({ earners }: FairnessReport): string[] {
  const rows = earners
    .slice(0, shown)
    .map((earner) => [
      earner.hotkey.slice(0, 8),
      formatShort(earner.doneTokens),
      formatPercent(earner.workShare),
      formatPercent(earner.paidShare),
      earner.fairness === null ? '-' : earner.fairness.toFixed(3),
      earner.temposToFirstPay === null ? '-' : String(earner.temposToFirstPay),
    ]);
  const rest = earners.length > shown ? [`… and ${earners.length - shown} more in the JSON`] : [];
  const head = ['hotkey', '>tokens done', '>of work', '>of pay', '>pay over work', '>tempos to first pay'];
  return [...formatTable(head, rows), ...rest];
}
