/** @file Attacks of validators: verdicts that lie, that serve a friend, or that nobody worked for. */
import type { EventBody } from '../../protocol/messages.ts';
import { type Hotkey, toDecimal } from '../../protocol/names.ts';
import { Rng } from '../../util/rng.ts';
import { bound } from '../bound-client.ts';
import type { ValidatorBehaviour } from '../network.ts';
import type { Attack } from './attack.ts';
import { noiseMaker } from './miners.ts';

type Verdict = EventBody<'verdict'>;

/** Changes verdicts on their way out. */
const saying = (change: (verdict: Verdict, hotkey: Hotkey) => Verdict): ValidatorBehaviour => ({
  client: (client) => ({
    ...bound(client),
    submit: (kind, body, options) => {
      if (kind !== 'verdict') return client.submit(kind, body, options);
      const claim = client.state.claims.get((body as Verdict).claim)!;
      return client.submit('verdict', change(body as Verdict, claim.hotkey), options) as ReturnType<
        typeof client.submit
      >;
    },
  }),
});

const lying: Attack = {
  name: 'lying-validator',
  about: 'a validator that calls every claim malformed, so that others earn nothing',
  miners: 0,
  miner: () => ({}),
  validators: 1,
  validator: () =>
    saying((verdict) => ({ ...verdict, outcome: 'reject', code: 'MALFORMED', sentence: 'so it says', details: null })),
};

const colluding: Attack = {
  name: 'colluding-validators',
  about: 'two validators of five accept whatever their miner, who only makes noise, claims, and pass its audits',
  miners: 1,
  miner: (index) => noiseMaker(index),
  validators: 2,
  validator: () => ({
    client: (client, context) => ({
      ...bound(client),
      submit: (kind, body, options) => {
        if (kind === 'verdict') {
          const verdict = body as Verdict;
          if (!context.friends.has(client.state.claims.get(verdict.claim)!.hotkey))
            return client.submit(kind, body, options);
          const kindly: Verdict = { ...verdict, outcome: 'accept', code: 'OK', sentence: '', accused: [] };
          return client.submit('verdict', kindly, options) as ReturnType<typeof client.submit>;
        }
        if (kind === 'audit-verdict') {
          const verdict = body as EventBody<'audit-verdict'>;
          if (context.friends.has(client.state.audits.get(verdict.audit)!.body.hotkey))
            return client.submit('audit-verdict', { ...verdict, outcome: 'pass', code: 'OK', sentence: '' }, options);
        }
        return client.submit(kind, body, options);
      },
    }),
  }),
};

const lazy: Attack = {
  name: 'lazy-validator',
  about: 'a validator that accepts every claim with invented numbers and does no work for it',
  miners: 0,
  miner: () => ({}),
  validators: 1,
  validator: () => {
    const rng = new Rng('lazy');
    return saying((verdict) => {
      const norm = toDecimal(0.05 + 0.1 * rng.uniform());
      return {
        ...verdict,
        outcome: 'accept',
        code: 'OK',
        sentence: '',
        measurements: { norm },
        details: null,
        accused: [],
      };
    });
  },
};

export const validatorAttacks: readonly Attack[] = [lying, colluding, lazy];
