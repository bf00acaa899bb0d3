/**
 * @file A miner's client behind the links of a simulated machine: messages take a round trip, bytes their time up or down, and
 * whoever is cut off waits for the end of it. What the journal says still comes at once.
 */
import type { RunClient } from '../roles/client.ts';
import type { Store } from '../store/port.ts';
import type { Clock } from '../util/clock.ts';
import { bound } from './bound-client.ts';

/** A machine on virtual time; each is asked when it begins. */
export interface MinerMachine {
  stepMs(tokens: number): number;
  roundTripMs(): number;
  uploadMs(bytes: number): number;
  downloadMs(bytes: number): number;
}

export function linkedClient(
  client: RunClient,
  { clock, machine }: { readonly clock: Clock; readonly machine: MinerMachine },
): RunClient {
  const { signal, store } = client;
  // Whole milliseconds: times of the journal are.
  const pass = (ms: number): Promise<void> => clock.sleep(Math.ceil(ms), signal);
  const linked: Store = {
    put: async (artifact, bytes, options) => {
      await pass(machine.uploadMs(bytes.byteLength));
      return store.put(artifact, bytes, options);
    },
    get: async (artifact, options) => {
      await pass(machine.downloadMs(artifact.sizeBytes));
      return store.get(artifact, options);
    },
    stat: (root) => store.stat(root),
    remove: (root) => store.remove(root),
  };
  return {
    ...bound(client),
    store: linked,
    submit: async (kind, body, options) => {
      await pass(machine.roundTripMs());
      return client.submit(kind, body, options);
    },
    requestLease: async () => {
      await pass(machine.roundTripMs());
      return client.requestLease();
    },
    heartbeat: async (body) => {
      await pass(machine.roundTripMs());
      return client.heartbeat(body);
    },
  };
}
