/** @file Attacks of miners: work that was not done, not done as leased, stolen, twisted, or withheld. */
import type { Claim } from '../../journal/state.ts';
import { hashOfText } from '../../protocol/hash.ts';
import type { Hash } from '../../protocol/names.ts';
import { signMessage } from '../../protocol/signing.ts';
import type { TrainPlan } from '../../roles/miner/events.ts';
import type { LearnerThread } from '../../roles/miner/learner-thread.ts';
import { normalizeRanges, type Range } from '../../util/ranges.ts';
import { Rng } from '../../util/rng.ts';
import { bound } from '../bound-client.ts';
import type { BehaviourContext, MinerBehaviour } from '../network.ts';
import { withLongTempos } from '../settings.ts';
import type { Attack } from './attack.ts';
import { changed, decodeClaim, emptyClaim, encodeClaim, fakedStep, fragmentOf, noiseClaim } from './fakes.ts';

/** Overrides some calls of an honest learner. */
const learner = (
  change: (honest: LearnerThread, context: BehaviourContext) => Partial<LearnerThread>,
): MinerBehaviour => ({ learner: (honest, context) => ({ ...honest, ...change(honest, context) }) });

/** Twists what honest training gives. */
const twisting = (factor: number): MinerBehaviour =>
  learner((honest, context) => ({
    claim: async (id) => changed(context, id, await honest.claim(id), (x) => x * factor),
  }));

/**
 * Takes the time of a step and does none; counts its steps since each fragment's last claim. One step it does, for a true state that it
 * shows in every audit: whoever has nothing to show is caught without a replay.
 */
function idling(
  claim: (id: number, steps: number) => Promise<Uint8Array> | Uint8Array,
  honest: LearnerThread,
  context: BehaviourContext,
) {
  let steps = 0;
  let shown: Hash | null = null;
  const claimedAt = new Map<number, number>();
  return {
    step: async (plan: TrainPlan) => {
      steps++;
      if (plan.withStateRoot && shown === null) {
        const report = await honest.step(plan);
        shown = report.stateRoot;
        return report;
      }
      await context.pause();
      return fakedStep(context, plan, shown);
    },
    claim: async (id: number) => {
      const since = steps - (claimedAt.get(id) ?? 0);
      claimedAt.set(id, steps);
      return claim(id, Math.max(1, since));
    },
  };
}

const zeroWork: Attack = {
  name: 'zero-work',
  about: 'does nothing and claims a pseudo-gradient of zeros',
  miners: 1,
  miner: () => learner((honest, context) => idling((id) => emptyClaim(context, id), honest, context)),
};

export const noiseMaker = (index: number): MinerBehaviour =>
  learner((honest, context) => {
    const rng = new Rng(`noise ${index}`);
    return idling((id, steps) => noiseClaim(context, id, steps, rng), honest, context);
  });

const noise: Attack = {
  name: 'noise',
  about: 'does nothing and claims noise of the usual norm',
  miners: 1,
  miner: noiseMaker,
};

const staleReplay: Attack = {
  name: 'stale-replay',
  about: 'trains up to its first claim, then claims its own first pseudo-gradients again and again',
  miners: 1,
  miner: () =>
    learner((honest, context) => {
      const first = new Map<number, Uint8Array>();
      const idle = idling((id) => first.get(id)!, honest, context);
      return {
        step: (plan) => (first.size === 0 ? honest.step(plan) : idle.step(plan)),
        claim: async (id) => {
          if (!first.has(id)) first.set(id, await honest.claim(id));
          return idle.claim(id);
        },
      };
    }),
};

/** Newest revealed claim of somebody else for the fragment. */
function latestOfOthers({ client, hotkey }: BehaviourContext, fragment: number): Claim | null {
  const claims = [...client.state.claims.values()].reverse();
  const isOthers = (claim: Claim): boolean =>
    claim.body.fragment === fragment && claim.hotkey !== hotkey.hotkey && claim.revealedAtMs !== null;
  return claims.find(isOthers) ?? null;
}

const copying: Attack = {
  name: 'copy',
  about: "does nothing and claims another miner's newest revealed pseudo-gradient with a little noise",
  miners: 1,
  miner: (index) =>
    learner((honest, context) => {
      const rng = new Rng(`copy ${index}`);
      return idling(
        async (id, steps) => {
          const found = latestOfOthers(context, id);
          const bytes = found === null ? null : await context.store.get(found.body.artifact).catch(() => null);
          if (bytes === null) return noiseClaim(context, id, steps, rng);
          return changed(context, id, bytes, (x) => x * (1 + 0.01 * rng.normal()));
        },
        honest,
        context,
      );
    }),
};

const signFlip: Attack = {
  name: 'sign-flip',
  about: 'trains and claims the opposite, to do harm',
  miners: 1,
  miner: () => twisting(-1),
};

const scaling: Attack = {
  name: 'scale-100',
  about: 'trains and claims a hundred times as much',
  miners: 1,
  miner: () => twisting(100),
};

const normInflation: Attack = {
  name: 'norm-inflation',
  about: 'under rda, inflates its norms to just below the ceiling, to weigh more in the merged norm',
  settings: (settings) => ({ ...settings, merge: { ...settings.merge, rule: 'rda' } }),
  miners: 1,
  miner: () => twisting(4),
};

const otherData: Attack = {
  name: 'other-data',
  about: 'trains on the first few sequences of the order instead of its lease',
  miners: 1,
  miner: () => learner((honest) => ({ step: (plan) => honest.step(readFrom(plan, 0)) })),
};

/** As many sequences from a fixed place of the order. */
function readFrom(plan: TrainPlan, from: number): TrainPlan {
  const count = plan.sequences.reduce((sum, [a, b]) => sum + b - a, 0);
  return { ...plan, sequences: [[from, from + count]] };
}

const sandbagging: Attack = {
  name: 'sandbagging',
  about: 'does a tenth of the steps and claims all of them, its pseudo-gradients scaled to the usual norm',
  miners: 1,
  miner: () =>
    learner((honest, context) => {
      let step = 0;
      return {
        // States are true ones: of what was done.
        step: async (plan) => {
          if (plan.withStateRoot || step++ % 10 === 0) return honest.step(plan);
          await context.pause();
          return fakedStep(context, plan, null);
        },
        claim: async (id) => changed(context, id, await honest.claim(id), (x) => x * Math.sqrt(10)),
      };
    }),
};

const memorising: Attack = {
  name: 'memorise',
  about: 'trains again and again on the first batch of each lease instead of reading on',
  miners: 1,
  miner: () => {
    const first = new Map<number, readonly Range[]>();
    return learner((honest) => ({
      step: (plan) => {
        const lease = plan.leases[0]!;
        if (!first.has(lease)) first.set(lease, plan.sequences);
        const sequences = normalizeRanges([...first.get(lease)!]);
        return honest.step({ ...plan, sequences });
      },
    }));
  },
};

const sybil: Attack = {
  name: 'sybil',
  about: 'splits one honest machine among four hotkeys',
  settings: (settings) => withLongTempos(settings),
  miners: 4,
  speed: 1 / 4,
  miner: () => ({}),
};

const routerCollapse: Attack = {
  name: 'router-collapse',
  about: "trains, and adds to the routers' pseudo-gradients what sends every token to the first expert",
  miners: 1,
  miner: () =>
    learner((honest, context) => ({
      claim: async (id) => {
        const fragment = fragmentOf(context, id);
        const { params, selectionBias } = decodeClaim(context, fragment, await honest.claim(id));
        for (const { name, offset, length } of fragment.slices)
          if (name.endsWith('mlp.gate.weight')) {
            const size = Math.max(...params.map(Math.abs));
            // θ moves against it: the first expert's row up, all others down.
            for (let i = 0; i < length; i++) params[offset + i] = i < length / 8 ? -size : size;
          }
        return encodeClaim(context, fragment, {
          params,
          selectionBias: selectionBias.map((_, e) => (e === 0 ? -1 : 1)),
        });
      },
    })),
};

const withheldReveal: Attack = {
  name: 'withheld-reveal',
  about: 'commits and never reveals, to hold merges up',
  miners: 1,
  miner: () => ({
    client: (client) => ({
      ...bound(client),
      submit: async (kind, body, options) => {
        if (kind !== 'claim-reveal') return client.submit(kind, body, options);
        return { outcome: 'accept', code: 'OK', sentence: '', id: '0'.repeat(64) as Claim['id'], seq: null };
      },
    }),
  }),
};

const malformed: Attack = {
  name: 'malformed',
  about: 'claims bytes that are no fragment',
  miners: 1,
  miner: (index) =>
    learner((honest, context) => {
      const rng = new Rng(`malformed ${index}`);
      return idling(() => Uint8Array.from({ length: 4_096 }, () => Math.floor(rng.uniform() * 256)), honest, context);
    }),
};

const huge: Attack = {
  name: 'huge',
  about: 'commits to artifacts of a terabyte, to exhaust whoever fetches them',
  miners: 1,
  miner: () => ({
    client: (client) => ({
      ...bound(client),
      submit: (kind, body, options) => {
        if (kind !== 'claim-commit') return client.submit(kind, body, options);
        const commit = body as { readonly artifact: { readonly root: string } };
        return client.submit(kind, { ...body, artifact: { ...commit.artifact, sizeBytes: 2 ** 40 } }, options);
      },
    }),
  }),
};

const crossRunReplay: Attack = {
  name: 'cross-run-replay',
  about: "does nothing and hands in claims that were signed for another run, as they are or with this run's name",
  miners: 1,
  miner: (index) => {
    const rng = new Rng(`cross-run ${index}`);
    return {
      ...learner((honest, context) => idling((id, steps) => noiseClaim(context, id, steps, rng), honest, context)),
      client: (client, context) => {
        let handed = 0;
        return {
          ...bound(client),
          submit: (kind, body, options) => {
            if (kind !== 'claim-commit') return client.submit(kind, body, options);
            const { chainId, netuid } = context.manifest.ledger;
            const run = hashOfText('another run');
            const signed = signMessage(context.session, kind, body, { chainId, netuid, run, seenHead: null });
            return context.submitRaw(JSON.stringify(handed++ % 2 === 0 ? signed : { ...signed, run: client.runId }));
          },
        };
      },
    };
  },
};

export const minerAttacks: readonly Attack[] = [
  zeroWork,
  noise,
  staleReplay,
  copying,
  signFlip,
  scaling,
  normInflation,
  otherData,
  sandbagging,
  memorising,
  sybil,
  routerCollapse,
  withheldReveal,
  malformed,
  huge,
  crossRunReplay,
];
