/** @file Does `accrete ledger metagraph`. */
import type { Handler } from '../command.ts';
import { formatTao } from '../output.ts';
import { formatTable } from '../table.ts';
import { withLedger } from './network.ts';

export const handle: Handler = async (settings, io) => {
  const neurons = await withLedger(settings, io, (ledger) => ledger.metagraph());
  if (settings.switch('json')) {
    for (const neuron of neurons) io.out(JSON.stringify(neuron));
    return 0;
  }
  const rows = neurons.map((neuron) => [
    String(neuron.uid),
    neuron.hotkey,
    formatTao(neuron.stakeRao),
    neuron.validatorPermit ? 'yes' : '',
    neuron.incentive.toFixed(4),
    neuron.dividends.toFixed(4),
    neuron.validatorTrust.toFixed(4),
    formatTao(neuron.emissionRao),
    neuron.lastUpdateBlock === null ? '' : String(neuron.lastUpdateBlock),
    neuron.axon === null ? '' : `${neuron.axon.ip}:${neuron.axon.port}`,
  ]);
  const head = [
    '>uid',
    'hotkey',
    '>stake',
    'permit',
    '>incentive',
    '>dividends',
    '>trust',
    '>paid',
    '>weights at',
    'axon',
  ];
  for (const line of neurons.length === 0 ? ['no neuron is registered yet'] : formatTable(head, rows)) io.out(line);
  return 0;
};
