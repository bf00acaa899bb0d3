/** @file Declares `accrete publish`: a release on a hub, or in a folder laid out the same. */
import type { CommandDeclaration } from '../command.ts';

export const publish: CommandDeclaration = {
  name: 'publish',
  description:
    'Publish a release with its model card: to a Hugging Face repository (environment: HF_TOKEN, and HF_ENDPOINT for another hub), as one commit and a tag, or to a folder. All or nothing; given again, it goes on with what has arrived. See docs/publish-and-evaluate.md.',
  options: [
    {
      name: 'checkpoint',
      value: 'DIR',
      description: "folder of the checkpoint; of a run's release the card tells what its journal says",
      default: '.accrete/run/releases/latest',
    },
    { name: 'to', value: 'TARGET', description: 'hf://OWNER/NAME, or a folder', required: true },
    {
      name: 'with',
      value: 'LIST',
      description:
        'exports to publish alongside, separated by commas: gguf:TYPE (Q8_0, Q4_K_M, …), mlx:4, mlx:8, mlx:BF16',
    },
    {
      name: 'held-out',
      value: 'FILE',
      description: 'gguf of a hybrid model: text that its backbone is measured on, as for accrete export',
    },
    {
      name: 'max-gap',
      value: 'X',
      description: 'gguf of a hybrid model: nats a token that the backbone may lose',
      default: '0.02',
    },
    { name: 'tag', value: 'NAME', description: "the release's tag; by default the folder's name (release-7)" },
    { name: 'name', value: 'TEXT', description: "the model's name in card and files; by default run and release" },
    {
      name: 'parent',
      value: 'COMMIT',
      description: 'the commit that main must be at; by default where this run left it',
    },
    { name: 'private', description: 'a repository that is made now is private' },
    { name: 'threads', value: 'N', description: 'threads of the measuring; 0: all cores', default: '0' },
  ],
  example: './bin/accrete publish --checkpoint .accrete/run/releases/latest --to .accrete/published',
  load: () => import('./handler.ts'),
};
