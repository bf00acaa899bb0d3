/** @file A run client as a plain object, of which some calls can be replaced. */
import type { RunClient } from '../roles/client.ts';

/** A client's methods, free of `this`, so that some can be replaced. */
export function bound(client: RunClient): RunClient {
  return {
    runId: client.runId,
    manifest: client.manifest,
    state: client.state,
    store: client.store,
    ledger: client.ledger,
    log: client.log,
    signal: client.signal,
    onEntry: (handler) => client.onEntry(handler),
    submit: (kind, body, options) => client.submit(kind, body, options),
    requestLease: () => client.requestLease(),
    requestGrant: (artifact, purpose, bytes) => client.requestGrant(artifact, purpose, bytes),
    heartbeat: (body) => client.heartbeat(body),
    close: () => client.close(),
  };
}
