/** @file What would change a plan most: the plan made again with one thing changed. */
import { codecNames, type RunManifest } from '../protocol/manifest.ts';
import { mfuRange } from '../simulate/fleet/accelerators.ts';
import type { Fleet, MachineKind } from '../simulate/fleet/fleet-file.ts';

export interface Outlook {
  /** Days to the end of the last phase; null: never. */
  readonly endDays: number | null;
  /** Share of the merged tokens of the first phase that is paid. */
  readonly paidShare: number;
}

export interface Sensitivity {
  readonly change: string;
  /** Days to the end of the last phase then, over those of the plan; null: it ends or begins by it. */
  readonly timeFactor: number | null;
  readonly endDays: number | null;
  readonly paidShare: number;
}

/** Less than a hundredth either way is no change. */
export const isChange = ({ timeFactor, endDays, paidShare }: Sensitivity, now: Outlook): boolean =>
  Math.abs(paidShare - now.paidShare) > 0.01 ||
  (timeFactor === null ? (endDays === null) !== (now.endDays === null) : Math.abs(timeFactor - 1) > 0.01);

/** The strongest first: what begins, ends or pays a run, then what changes its time most. */
export function sensitivitiesOf(
  manifest: RunManifest,
  fleet: Fleet,
  { now, outlook }: { now: Outlook; outlook: (manifest: RunManifest, fleet: Fleet) => Outlook },
): Sensitivity[] {
  const strength = ({ timeFactor, paidShare, endDays }: Sensitivity): number =>
    (timeFactor === null && (endDays === null) !== (now.endDays === null) ? 1e6 : 0) +
    10 * Math.abs(paidShare - now.paidShare) +
    (timeFactor === null ? 0 : Math.abs(Math.log(timeFactor)));
  return casesOf(manifest, fleet)
    .map(([change, changed, machines]): Sensitivity => {
      const { endDays, paidShare } = outlook(changed, machines);
      const timeFactor = endDays === null || now.endDays === null ? null : endDays / now.endDays;
      return { change, timeFactor, endDays, paidShare };
    })
    .sort((a, b) => strength(b) - strength(a));
}

function casesOf(manifest: RunManifest, fleet: Fleet): [string, RunManifest, Fleet][] {
  const each = (change: (kind: MachineKind) => Partial<MachineKind>): Fleet => ({
    ...fleet,
    machines: fleet.machines.map((kind) => ({ ...kind, ...change(kind) })),
  });
  const faster = (factor: number): Fleet =>
    each((kind) =>
      kind.tokensPerSecond === undefined
        ? { mfu: Math.min(1, factor * (kind.mfu ?? mfuRange.middle)) }
        : { tokensPerSecond: factor * kind.tokensPerSecond },
    );
  const { sync, audit } = manifest;
  const withSync = (change: Partial<RunManifest['sync']>): RunManifest => ({
    ...manifest,
    sync: { ...sync, ...change },
  });
  return [
    ['twice the machines', manifest, each(({ count }) => ({ count: 2 * count }))],
    ['half the tokens a second (or the MFU)', manifest, faster(0.5)],
    ['twice the tokens a second (or the MFU)', manifest, faster(2)],
    ['ten times the upload', manifest, each(({ upMbps }) => ({ upMbps: 10 * upMbps }))],
    [
      'ten times the upload, and the validators’ download',
      manifest,
      {
        ...each(({ upMbps }) => ({ upMbps: 10 * upMbps })),
        validators: { ...fleet.validators, downMbps: 10 * fleet.validators.downMbps },
      },
    ],
    ['a tenth of the upload', manifest, each(({ upMbps }) => ({ upMbps: upMbps / 10 }))],
    ['ten times the download', manifest, each(({ downMbps }) => ({ downMbps: 10 * downMbps }))],
    ['a tenth of the download', manifest, each(({ downMbps }) => ({ downMbps: downMbps / 10 }))],
    ['every hour of the day', manifest, each(() => ({ hoursADay: 24 }))],
    ['ten times the failures', manifest, each(({ failuresADay }) => ({ failuresADay: 10 * failuresADay }))],
    ['ten times the lease', withSync({ leaseSequences: 10 * sync.leaseSequences }), fleet],
    [
      'half the inner steps of a claim',
      withSync({ innerStepsPerOuterStep: Math.ceil(sync.innerStepsPerOuterStep / 2) }),
      fleet,
    ],
    ...(audit.perTempo === 0
      ? []
      : ([
          ['no audits', { ...manifest, audit: { ...audit, perTempo: 0 } }, fleet],
          [
            'one audit a tempo, ten times its term',
            { ...manifest, audit: { ...audit, perTempo: 1, answerMs: 10 * audit.answerMs } },
            fleet,
          ],
        ] as [string, RunManifest, Fleet][])),
    ...codecNames
      .filter((codec) => codec !== manifest.codec)
      .map((codec): [string, RunManifest, Fleet] => [`codec ${codec}`, { ...manifest, codec }, fleet]),
  ];
}
