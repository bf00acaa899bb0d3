/** @file Opens a server's port, and says in an operator's words why it cannot be opened. */
import type { Server } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { UsageError } from '../util/errors.ts';

export interface HttpServer {
  /** `http://host:port` as a client on this machine may use it. */
  readonly url: string;
  readonly port: number;
  /** For WebSocket upgrades. */
  readonly server: Server;
  /** Ends open requests, also long ones. */
  close(): Promise<void>;
}

/** Closes the app where the port is taken or not allowed. @throws UsageError */
export async function listen(
  app: FastifyInstance,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<HttpServer> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    throw listenError(host, port, cause);
  }
  const address = app.server.address();
  const actualPort = typeof address === 'object' && address !== null ? address.port : port;
  return {
    url: urlOf(host, actualPort),
    port: actualPort,
    server: app.server,
    close: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

function listenError(host: string, port: number, cause: unknown): Error {
  const { code, message } = cause as NodeJS.ErrnoException;
  const at = `${host}:${port}`;
  if (code === 'EADDRINUSE') {
    return new UsageError(
      `port ${port} is taken on ${host} by another program, perhaps another network; choose another with --port (0 takes any free one)`,
      { cause },
    );
  }
  if (code === 'EACCES') {
    return new UsageError(`port ${port} may not be used by this user; choose one above 1023 with --port`, { cause });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new UsageError(`${at}: this machine has no such address; choose one with --host, e.g. 127.0.0.1`, { cause });
  }
  if (code === 'ERR_SOCKET_BAD_PORT') {
    return new UsageError(`expected a port from 0 to 65535, got ${port}; choose one with --port`, { cause });
  }
  return new UsageError(`${at}: cannot listen there (${message}); choose another with --host and --port`, { cause });
}

/** Addresses that mean "every interface" are reached by the loopback one. */
function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
