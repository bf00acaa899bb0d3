/** @file Declares `accrete verify`: recomputes a run from its public bytes. */
import type { CommandDeclaration } from '../command.ts';

export const verify: CommandDeclaration = {
  name: 'verify',
  description:
    'Recompute a run from its public bytes, trusting nobody: signatures, hash chain, anchors, leases, claims, every merge bit for bit, releases, scores and weights. One line a check, the first divergence exactly; exit code 1 on any. Stopped, it goes on where it was.',
  argument: { name: 'URL|DIR', description: 'an orchestrator, or the folder of a run' },
  options: [
    {
      name: 'from',
      value: 'RELEASE',
      description: 'check signatures and bytes from this release on only; what lies before is reported as attested',
    },
    {
      name: 'store',
      value: 'URL',
      description: 'read artifacts from here, as URL/store/ROOT: a public bucket with its prefix, or any mirror of it',
    },
    {
      name: 'shards',
      value: 'GIB|all',
      description:
        'read so much of the text, and compare its pages with their index; of a run that has more, whole shards drawn at random',
      default: '64',
    },
    { name: 'replay', value: 'N', description: 'redo the N newest audited trace segments as well', default: '0' },
    {
      name: 'state',
      value: 'FILE',
      description:
        'remembers between two sessions what was done (default: .accrete/verify-RUN.json); none to turn it off',
    },
    {
      name: 'cache',
      value: 'MIB',
      description: 'memory for artifacts that the next checks need again, in MiB',
      default: '256',
    },
  ],
  example: './bin/accrete verify .accrete/run',
  load: () => import('./handler.ts'),
};
