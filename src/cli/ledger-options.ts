/** @file Options that say which ledger is meant; declarations only, so that help stays quick. */
import type { OptionDeclaration } from './command.ts';

export const endpointOptions: readonly OptionDeclaration[] = [
  {
    name: 'ledger',
    value: 'NAME',
    description: "embedded: the orchestrator's own chain; bittensor: the chain at --endpoint",
    default: 'embedded',
    choices: ['embedded', 'bittensor'],
  },
  {
    name: 'endpoint',
    value: 'URLS',
    description: 'nodes of Bittensor, ws:// or wss://, after commas; the first that answers is used',
  },
  {
    name: 'genesis',
    value: 'HASH',
    description: 'hash of block 0 that endpoints must have; of a run that is joined it is known',
  },
];

/** For commands that say no netuid otherwise. */
export const ledgerOptions: readonly OptionDeclaration[] = [
  ...endpointOptions,
  { name: 'netuid', value: 'N', description: 'subnet on Bittensor' },
];
