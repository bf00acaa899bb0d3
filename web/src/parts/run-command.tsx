/** @file A command of the run as the reader must type it: `{url}` becomes the address that this page came from. */
import { baseUrl } from '../api/client.ts';
import { Copyable } from './names.tsx';

export function RunCommand({ command, label }: { command: string; label: string }) {
  return (
    <div class="command">
      <Copyable text={command.replaceAll('{url}', baseUrl().href.replace(/\/$/, ''))} label={label} />
    </div>
  );
}
