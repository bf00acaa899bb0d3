/** @file A bounded number of works at once. */

/**
 * Works on 0 to `count` − 1, so many at once, begun in that order. Once one has failed no other begins; those under way are
 * told to end, and waited for. @throws the first failure; the signal's reason
 */
export async function inLanes(
  count: number,
  { atOnce, signal }: { readonly atOnce: number; readonly signal?: AbortSignal | undefined },
  work: (i: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  signal?.throwIfAborted();
  const ending = new AbortController();
  const either = signal === undefined ? ending.signal : AbortSignal.any([signal, ending.signal]);
  let next = 0;
  let fault: { readonly error: unknown } | null = null;
  const lane = async (): Promise<void> => {
    while (next < count && !either.aborted)
      await work(next++, either).catch((error: unknown) => {
        fault ??= { error };
        ending.abort(error);
      });
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane));
  if (fault !== null) throw (fault as { readonly error: unknown }).error;
  signal?.throwIfAborted();
}
