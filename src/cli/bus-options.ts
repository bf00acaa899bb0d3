/** @file Options that say what carries the messages of a run; declarations only, so that help stays quick. */
import type { OptionDeclaration } from './command.ts';

export const busOptions: readonly OptionDeclaration[] = [
  {
    name: 'bus',
    value: 'URL',
    description:
      'NATS servers that carry the messages of the run (nats://, tls:// or wss://, several after commas); without it the orchestrator carries them',
  },
  {
    name: 'bus-public',
    value: 'URL',
    description: 'how miners and validators reach the same servers; as --bus if left out',
  },
  {
    name: 'bus-account',
    value: 'FILE',
    description:
      'JSON file (mode 0600) with the NATS account and one of its signing keys, from which each participant gets credentials of his own; without it the servers must take anybody',
  },
];
