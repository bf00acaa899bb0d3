/** @file Does `accrete explain`: folds the run's journal and prints what it says of one hotkey. */
import { Explainer } from '../../journal/explain.ts';
import type { RunState } from '../../journal/state.ts';
import type { Neuron } from '../../ledger/port.ts';
import type { Hotkey } from '../../protocol/names.ts';
import { connectRun } from '../../roles/client.ts';
import { UsageError } from '../../util/errors.ts';
import { parseLedgerChoice } from '../chosen-ledger.ts';
import type { Handler } from '../command.ts';
import { roleEnvironment } from '../environment.ts';
import { absentChainId, joinNetwork } from '../join.ts';
import { nativeEquation } from '../native-ed25519.ts';
import { describeHotkey, type Explained } from './describe.ts';

export const handle: Handler = async (settings, io) => {
  const environment = roleEnvironment(io, { role: 'observer', json: settings.switch('json') });
  const network = await joinNetwork(settings.url('join'), environment, parseLedgerChoice(settings));
  // Ends the following of the journal with the command.
  const connection = new AbortController();
  const signal = AbortSignal.any([io.stop, connection.signal]);
  try {
    const explainer = new Explainer();
    const { clock, log } = environment;
    const client = await connectRun({
      ...network,
      ...{ clock, log, session: null, equation: nativeEquation, signal, onFold: explainer.onFold },
    });
    const hotkey = hotkeyOf(client.state, settings.argument ?? '');
    const explained = explainer.explain(client.state, hotkey)!;
    const neurons = network.ledger.chainId === absentChainId ? [] : await network.ledger.metagraph();
    const neuron = neurons.find((each) => each.hotkey === hotkey);
    const ledger = neuron === undefined ? null : pick(neuron);
    await client.close();
    if (settings.switch('json')) io.out(JSON.stringify({ ...explained, ledger }));
    else {
      const options = { last: settings.count('last', { min: 0, max: 1_000_000 }), refused: settings.switch('refused') };
      for (const line of describeHotkey({ ...explained, ledger }, options)) io.out(line);
    }
    return 0;
  } finally {
    connection.abort();
    await network.close();
  }
};

const pick = ({ uid, stakeRao, emissionRao, incentive }: Neuron): Explained['ledger'] => ({
  ...{ uid, stakeRao, emissionRao, incentive },
});

/** @throws UsageError that names what there is */
function hotkeyOf(state: RunState, text: string): Hotkey {
  if (state.hotkeys.has(text as Hotkey)) return text as Hotkey;
  const named = [...state.delegations.values()].filter(({ name, role }) => name === text && role !== 'syncer');
  const hotkeys = [...new Set(named.map(({ hotkey }) => hotkey))].filter((hotkey) => state.hotkeys.has(hotkey));
  if (hotkeys.length === 1) return hotkeys[0]!;
  if (hotkeys.length > 1) throw new UsageError(`${text} is a name of ${hotkeys.length} hotkeys: ${hotkeys.join(', ')}`);
  const known = [...state.delegations.values()].filter(({ role }) => role !== 'syncer').map(({ name }) => name);
  throw new UsageError(
    `the run knows no hotkey or name ${text}; it has ${[...new Set(known)].sort().slice(0, 20).join(', ') || 'nobody yet'}`,
  );
}
