/**
 * @file A proxy between one role and the orchestrator that can be told to misbehave: cut connections, delay, duplicate or
 * reorder the frames of the bus (WebSocket), delay or cut transfers of the store (HTTP). Otherwise it passes all on as it is.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { busSubprotocol, maxFrameBytes } from '../../../bus/frames.ts';

export type NetworkFault = 'delay' | 'duplicate' | 'reorder';

const delayMs = 700;
/** A frame that waits to be overtaken and is not, goes after this. */
const overtakeMs = 300;

export class FaultyProxy {
  readonly #server = createServer((incoming, response) => void this.#pass(incoming, response));
  readonly #upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: maxFrameBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(busSubprotocol) ? busSubprotocol : false),
  });
  readonly #sockets = new Set<Socket>();
  readonly #until = new Map<NetworkFault, number>();
  readonly #targetPort: number;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('upgrade', (incoming, socket, head) => this.#join(incoming, socket, head));
  }

  static async open(targetPort: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(targetPort);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject).listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts every connection, also within a message. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  disturb(fault: NetworkFault, holdMs: number): void {
    this.#until.set(fault, performance.now() + holdMs);
  }

  async close(): Promise<void> {
    this.drop();
    this.#upgrades.close();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #is(fault: NetworkFault): boolean {
    return performance.now() < (this.#until.get(fault) ?? 0);
  }

  async #pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#is('delay')) await new Promise((resolve) => setTimeout(resolve, delayMs));
    const { method, url, headers } = incoming;
    const outgoing = request({ host: '127.0.0.1', port: this.#targetPort, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('error', () => response.destroy()).pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('error', () => {}).on('close', () => outgoing.destroy());
    incoming.on('error', () => outgoing.destroy()).pipe(outgoing);
  }

  #join(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    const far = new WebSocket(`ws://127.0.0.1:${this.#targetPort}${incoming.url}`, [busSubprotocol], {
      maxPayload: maxFrameBytes,
      perMessageDeflate: false,
    });
    far.on('error', () => socket.destroy());
    far.once('open', () =>
      this.#upgrades.handleUpgrade(incoming, socket, head, (near) => {
        near.on('error', () => far.terminate()).on('close', () => far.terminate());
        far.on('close', () => near.terminate());
        this.#forward(near, far);
        this.#forward(far, near);
      }),
    );
  }

  #forward(from: WebSocket, to: WebSocket): void {
    const send = (frame: string): void => {
      if (to.readyState === WebSocket.OPEN) to.send(frame);
    };
    let held: { readonly frame: string; readonly timer: NodeJS.Timeout } | null = null;
    const release = (): void => {
      if (held === null) return;
      clearTimeout(held.timer);
      send(held.frame);
      held = null;
    };
    let sendsAtMs = 0;
    from.on('message', (data) => {
      const frame = data.toString();
      if (held !== null) {
        send(frame);
        release();
        return;
      }
      if (this.#is('reorder')) {
        held = { frame, timer: setTimeout(release, overtakeMs) };
        return;
      }
      // What was delayed is not overtaken by what comes after the delay.
      const now = performance.now();
      sendsAtMs = this.#is('delay') ? now + delayMs : Math.max(now, sendsAtMs);
      if (sendsAtMs > now) setTimeout(send, sendsAtMs - now, frame);
      else send(frame);
      if (this.#is('duplicate')) send(frame);
    });
  }
}
