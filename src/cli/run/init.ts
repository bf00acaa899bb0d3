/** @file Does `accrete run init`. */
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { outlineOf } from '../../roles/run-outline.ts';
import { templateNames, templates } from '../../roles/run-templates.ts';
import { UsageError } from '../../util/errors.ts';
import type { Handler } from '../command.ts';
import { typedPath } from '../paths.ts';
import { describeOutline } from './describe.ts';
import { checkedRunFile, configAt } from './place.ts';

export const handle: Handler = async (settings, io) => {
  const template = settings.choice('template', templateNames);
  const given = (name: 'name' | 'seed' | 'from') => (settings.isGiven(name) ? { [name]: settings.text(name) } : {});
  const file = checkedRunFile(
    { ...templates[template], ...given('name'), ...given('seed'), ...given('from') },
    `template ${template}`,
  );
  const path = pathOf(settings.path('out'));
  mkdirSync(dirname(path), { recursive: true });
  try {
    writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`, { flag: 'wx' });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new UsageError(`--out: ${path} is there already; edit it, or choose another name`, { cause });
  }
  const outline = outlineOf(file, configAt({ kind: 'file', path, file }));
  const typed = typedPath(path, io.cwd);
  if (settings.switch('json')) io.out(JSON.stringify({ file: path, ...outline }));
  else {
    for (const line of describeOutline(outline, file, io.terminal?.stream.columns ?? 100)) io.out(line);
    io.out(`\n${typed}: edit it, look at it with ./bin/accrete run show ${typed}, and start the run with`);
    io.out(`  ./bin/accrete orchestrate --manifest ${typed} --dir .accrete/${file.name}`);
  }
  return 0;
};

/** A folder that is there gets `run.json`. */
const pathOf = (out: string): string => (existsSync(out) && statSync(out).isDirectory() ? join(out, 'run.json') : out);
