/** @file Does `accrete ledger status`. */
import type { Handler } from '../command.ts';
import { formatTao } from '../output.ts';
import { addressOf, withLedger } from './network.ts';

export const handle: Handler = async (settings, io) => {
  const account = settings.has('account') ? addressOf(settings, 'account') : null;
  const { subnet, head, balance } = await withLedger(settings, io, async (ledger) => ({
    subnet: await ledger.subnet(),
    head: await ledger.head(),
    balance: account === null ? null : await ledger.balance(account),
  }));
  if (settings.switch('json')) {
    const of = account === null ? {} : { account, balanceRao: String(balance) };
    io.out(JSON.stringify({ ...subnet, head, ...of }));
    return 0;
  }
  const weights = subnet.isCommitReveal
    ? `by commit and reveal, ${subnet.revealPeriodEpochs} epochs later`
    : `plain, every ${subnet.weightsRateLimitBlocks} blocks`;
  io.out(`chain     ${subnet.chainId}, subnet ${subnet.netuid}, owner ${subnet.owner}`);
  io.out(`head      block ${head.number}, ${head.hash}`);
  io.out(`tempo     ${subnet.tempoBlocks} blocks; epoch ${subnet.epochIndex} ends in block ${subnet.nextEpochBlock}`);
  io.out(`neurons   ${subnet.neuronCount} of ${subnet.maxUids} uids, ${subnet.maxValidators} permits`);
  io.out(`price     ${formatTao(subnet.burnRao)} a registration; stake at least ${formatTao(subnet.minStakeRao)}`);
  io.out(
    `emission  ${formatTao(subnet.emissionPerBlockRao)} a block; ${formatTao(subnet.issuedRao)} so far, ${formatTao(subnet.burnedRao)} burned`,
  );
  io.out(`weights   ${weights}; Yuma ${subnet.yumaVersion}${subnet.isLiquidAlpha ? ' with liquid alpha' : ''}`);
  if (account !== null) io.out(`balance   ${formatTao(balance!)} free on ${account}`);
  return 0;
};
