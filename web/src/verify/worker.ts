/** @file The worker around the verification: the page stays responsive, whatever is checked. */
import '../zod-without-eval.ts';
import type { VerifyRequest } from './progress.ts';
import { verify } from './verify.ts';

addEventListener('message', ({ data }: MessageEvent<VerifyRequest>) => {
  void verify(data, (progress) => postMessage(progress)).catch((error: unknown) => {
    // A bug of ours: the page hears of it as the worker's error.
    setTimeout(() => {
      throw error;
    });
  });
});
