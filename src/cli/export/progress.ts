/** @file The progress bar of `accrete export`, on standard error, where that is a terminal. */
import cliProgress from 'cli-progress';
import type { ExportProgress } from '../../export/staged.ts';
import { formatBytes } from '../output.ts';

export interface ProgressBar {
  update(progress: ExportProgress): void;
  close(): void;
}

export function progressBar(stream: NodeJS.WriteStream): ProgressBar {
  const bar = new cliProgress.SingleBar(
    {
      stream,
      format: '{bar} {percentage} % of {size}, {eta_formatted} left, {part}',
      hideCursor: true,
      clearOnComplete: true,
      etaBuffer: 200,
    },
    cliProgress.Presets.shades_classic,
  );
  let isStarted = false;
  return {
    update({ doneBytes, totalBytes, part }) {
      if (!isStarted) bar.start(totalBytes, doneBytes, { size: formatBytes(totalBytes), part });
      isStarted = true;
      bar.update(doneBytes, { part });
    },
    close() {
      if (isStarted) bar.stop();
    },
  };
}
