/** @file The option that says where a run's artifacts are kept; a declaration only, so that help stays quick. */
import type { OptionDeclaration } from './command.ts';

export const storeOptions: readonly OptionDeclaration[] = [
  {
    name: 'store',
    value: 'URL',
    description:
      "where artifacts are kept, s3://bucket/prefix?endpoint=URL&region=NAME (credentials from AWS's usual places); left out, the run's folder or what it was told before",
  },
];
