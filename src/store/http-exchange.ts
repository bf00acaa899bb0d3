/** @file One HTTP request and the head of its answer, with a limit on silence; redirects of reads are followed. */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

export interface Exchange {
  readonly method: 'GET' | 'HEAD' | 'PUT';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
}

const maxRedirects = 3;
const pool = { keepAlive: true, maxSockets: 8 };

export class HttpExchanger {
  readonly #idleMs: number;
  readonly #agents = { 'http:': new HttpAgent(pool), 'https:': new HttpsAgent(pool) };

  constructor({ idleMs }: { readonly idleMs: number }) {
    this.#idleMs = idleMs;
  }

  /** Resolves with the response's head, which may come before the body is sent. */
  async exchange(exchange: Exchange): Promise<IncomingMessage> {
    let { url } = exchange;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#send({ ...exchange, url });
      const { location } = response.headers;
      const isRedirect = [301, 302, 303, 307, 308].includes(response.statusCode ?? 0) && location !== undefined;
      if (exchange.method === 'PUT' || !isRedirect) return response;
      response.resume();
      if (redirects === maxRedirects) throw new Error(`more than ${maxRedirects} redirects`);
      // The one that was asked may be on a private network; where it sends to is its word.
      url = new URL(location, url).href;
      if (!/^https?:/.test(url)) throw new Error('a redirect to another protocol');
    }
  }

  #send({ method, url, headers = {}, body, signal }: Exchange): Promise<IncomingMessage> {
    const isSecure = url.startsWith('https:');
    const send = isSecure ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(url, {
        method,
        headers,
        agent: this.#agents[isSecure ? 'https:' : 'http:'],
        timeout: this.#idleMs,
        ...(signal === undefined ? {} : { signal }),
      });
      request.on('timeout', () => request.destroy(new Error(`no bytes for ${this.#idleMs} ms`)));
      request.on('error', reject);
      request.on('response', (response) => {
        // Read by whoever gets the response; without a listener a late error would end the process.
        response.on('error', () => undefined);
        resolve(response);
      });
      if (body === undefined) request.end();
      else sendWhenWanted(request, body);
    });
  }
}

/** Sends the body once the store asks for it, or when it has said nothing for a second; never after its answer. */
function sendWhenWanted(request: ClientRequest, body: Uint8Array): void {
  const silence = setTimeout(send, 1_000);
  function send(): void {
    clearTimeout(silence);
    request.off('continue', send);
    request.end(body);
  }
  request.on('continue', send);
  request.once('close', () => clearTimeout(silence));
  request.once('response', (response: IncomingMessage) => {
    clearTimeout(silence);
    request.off('continue', send);
    if (!request.writableEnded) response.once('close', () => request.destroy());
  });
}

export const isOk = ({ statusCode = 0 }: IncomingMessage): boolean => statusCode >= 200 && statusCode < 300;
