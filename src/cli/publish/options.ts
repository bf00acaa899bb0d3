/** @file The options of `accrete publish`, and the targets that it knows. */
import { resolve } from 'node:path';
import { openFolder } from '../../publish/folder.ts';
import type { PublishTarget } from '../../publish/port.ts';
import { UsageError } from '../../util/errors.ts';
import { systemClock } from '../environment.ts';
import type { Io } from '../io.ts';
import type { Settings } from '../settings.ts';
import { parseThreads } from '../threads.ts';

export interface WantedExport {
  readonly kind: 'gguf' | 'mlx';
  /** `Q8_0`, `4`, `BF16`. */
  readonly type: string;
}

export interface PublishCommandOptions {
  readonly checkpoint: string;
  readonly to: TargetName;
  readonly exports: readonly WantedExport[];
  readonly heldOut: string | null;
  readonly maxGap: number;
  /** Null: the folder's name. */
  readonly tag: string | null;
  readonly name: string | null;
  readonly parent: string | null;
  readonly isPrivate: boolean;
  readonly threads: number;
}

export type TargetName = { readonly repo: string } | { readonly dir: string };

export function parsePublishOptions(settings: Settings, cwd: string): PublishCommandOptions {
  return {
    checkpoint: settings.path('checkpoint'),
    to: parseTarget(settings.text('to'), '--to', cwd),
    exports: settings.has('with') ? parseExports(settings.text('with'), '--with') : [],
    heldOut: settings.has('held-out') ? settings.path('held-out') : null,
    maxGap: settings.number('max-gap', { min: 0, max: 100 }),
    tag: settings.has('tag')
      ? matching(settings, 'tag', /^[A-Za-z0-9][\w.-]{0,99}$/, 'letters, digits, . _ and -')
      : null,
    name: settings.has('name') ? settings.text('name') : null,
    parent: settings.has('parent') ? matching(settings, 'parent', /^[0-9a-f]{7,64}$/, "a commit's hash in hex") : null,
    isPrivate: settings.switch('private'),
    threads: parseThreads(settings),
  };
}

function matching(settings: Settings, name: string, pattern: RegExp, what: string): string {
  const text = settings.text(name);
  if (pattern.test(text)) return text;
  throw new UsageError(`--${name}: expected ${what}, got '${text.slice(0, 100)}'`);
}

/** @throws UsageError naming `option` */
export function parseTarget(text: string, option: string, cwd: string): TargetName {
  const repo = /^hf:\/\/([A-Za-z0-9][\w.-]{0,95}\/[A-Za-z0-9][\w.-]{0,95})$/.exec(text)?.[1];
  if (repo !== undefined) return { repo };
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw new UsageError(`${option}: expected hf://OWNER/NAME or a folder, got '${text.slice(0, 200)}'`);
  return { dir: resolve(cwd, text) };
}

const types: Readonly<Record<WantedExport['kind'], readonly string[]>> = {
  gguf: ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_K_M', 'Q6_K', 'MXFP4'],
  mlx: ['4', '8', 'F32', 'BF16', 'F16'],
};

/** @throws UsageError naming `option` */
export function parseExports(text: string, option: string): readonly WantedExport[] {
  return [...new Set(text.split(',').map((part) => part.trim()))].map((part) => {
    const [, kind, type] = /^(gguf|mlx):(\w+)$/.exec(part) ?? [];
    const known = kind === undefined ? undefined : types[kind as WantedExport['kind']];
    const found = known?.find((each) => each === type?.toUpperCase());
    if (found === undefined)
      throw new UsageError(
        `${option}: expected gguf:TYPE (${types.gguf.join(', ')}) or mlx:TYPE (${types.mlx.join(', ')}), got '${part.slice(0, 100)}'`,
      );
    return { kind: kind as WantedExport['kind'], type: found };
  });
}

/** @throws UsageError where the environment lacks what a hub needs */
export async function openTarget(
  to: TargetName,
  { environment }: Pick<Io, 'environment'>,
  { isPrivate }: { readonly isPrivate: boolean },
): Promise<PublishTarget> {
  if ('dir' in to) return openFolder(to.dir);
  const { repo } = to;
  const token = hubToken(environment);
  const endpoint = hubEndpoint(environment);
  // Loaded when it is used: it is large.
  const { openHub } = await import('../../publish/hub.ts');
  return openHub({ ...{ repo, endpoint, token, isPrivate }, fetch, clock: systemClock });
}

export function hubToken({ HF_TOKEN: token }: Io['environment']): string {
  if (token !== undefined && /^hf_\w{1,500}$/.test(token)) return token;
  throw new UsageError(
    token === undefined || token === ''
      ? 'HF_TOKEN is not set; make a token with write access on the hub (Settings, Access Tokens) and put it into that variable'
      : 'HF_TOKEN: expected a token that begins with hf_',
  );
}

export function hubEndpoint({ HF_ENDPOINT: endpoint = 'https://huggingface.co' }: Io['environment']): string {
  const parsed = URL.canParse(endpoint) ? new URL(endpoint) : null;
  if (parsed !== null && /^https?:$/.test(parsed.protocol) && parsed.search === '' && parsed.username === '')
    return endpoint.replace(/\/+$/, '');
  throw new UsageError('HF_ENDPOINT: expected a URL like https://huggingface.co');
}

/**
 * `--publish` and `--publish-with` as arguments of `accrete publish`; null where nothing is to be published.
 * @throws UsageError, also where a token is missing: a run would notice only at its first release
 */
export function parsePublishing(
  settings: Settings,
  { cwd, environment }: Pick<Io, 'cwd' | 'environment'>,
): readonly string[] | null {
  if (!settings.has('publish')) {
    if (settings.has('publish-with')) throw new UsageError('--publish-with: add --publish with a target');
    return null;
  }
  const target = parseTarget(settings.text('publish'), '--publish', cwd);
  if ('repo' in target) {
    hubToken(environment);
    hubEndpoint(environment);
  }
  const exports = settings.has('publish-with') ? settings.text('publish-with') : null;
  if (exports !== null) parseExports(exports, '--publish-with');
  return [
    '--to',
    'repo' in target ? `hf://${target.repo}` : target.dir,
    ...(exports === null ? [] : ['--with', exports]),
  ];
}
