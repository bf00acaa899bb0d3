/** @file The options of commands that publish each release of a run: `up` and `orchestrate`. */
import type { OptionDeclaration } from '../command.ts';
import type { Settings } from '../settings.ts';

export const publishOptions: readonly OptionDeclaration[] = [
  {
    name: 'publish',
    value: 'TARGET',
    description:
      'publish each release: hf://OWNER/NAME (environment: HF_TOKEN, HF_ENDPOINT) or a folder; what fails is tried again with the next release',
  },
  {
    name: 'publish-with',
    value: 'LIST',
    description: 'exports to publish alongside, as for accrete publish --with',
  },
];

/** As they were given, for another command that takes them. */
export const publishArguments = (settings: Settings): string[] =>
  publishOptions.flatMap(({ name }) => (settings.isGiven(name) ? [`--${name}`, settings.text(name)] : []));
