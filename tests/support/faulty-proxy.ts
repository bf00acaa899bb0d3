/** @file An HTTP proxy before a real server that does to chosen requests what networks and overloaded servers do. Else it hands everything on, unchanged. */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Fault =
  /** 503 in S3's words. */
  | 'slow-down'
  /** 403 in S3's words. */
  | 'deny'
  /** The connection ends in the middle of the body on its way there. */
  | 'cut-request'
  /** The same on its way back. */
  | 'cut-answer'
  /** The server does what it was asked; nobody hears of it. */
  | 'lose-answer'
  /** Nothing ever comes back. */
  | 'silence'
  | 'corrupt-request'
  | 'corrupt-answer';

export interface FaultyProxy {
  readonly url: string;
  /** From now on the next `times` requests with this method meet the fault; counted anew. */
  inject(fault: Fault, method: string, times?: number): void;
  /** Requests with the method since `inject`. */
  readonly hits: number;
  heal(): void;
  close(): Promise<void>;
}

const refusals = { 'slow-down': [503, 'SlowDown'], deny: [403, 'AccessDenied'] } as const;

export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const rule = { fault: null as Fault | null, method: '', left: 0, hits: 0 };
  const server = createServer(async (request, response) => {
    request.on('error', () => {});
    response.on('error', () => {});
    let fault: Fault | null = null;
    if (rule.fault !== null && request.method === rule.method) {
      rule.hits++;
      if (rule.left-- > 0) fault = rule.fault;
    }
    await handle(target, request, response, fault).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    inject: (fault, method, times = Number.POSITIVE_INFINITY) => {
      Object.assign(rule, { fault, method, left: times, hits: 0 });
    },
    get hits() {
      return rule.hits;
    },
    heal: () => void (rule.fault = null),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function handle(
  target: string,
  request: IncomingMessage,
  response: ServerResponse,
  fault: Fault | null,
): Promise<void> {
  if (fault === 'slow-down' || fault === 'deny') {
    const [status, code] = refusals[fault];
    for await (const _ of request); // a refusal in the middle of a body could be lost behind it
    response.writeHead(status, { 'content-type': 'application/xml' });
    response.end(
      `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>by the proxy</Message></Error>`,
    );
    return;
  }
  if (fault === 'silence') return;
  const body = await bodyOf(request);
  if (fault === 'corrupt-request' && body.byteLength > 0) body[body.byteLength >> 1]! ^= 1;
  const sent = fault === 'cut-request' ? body.subarray(0, body.byteLength >> 1) : body;
  const answer = await forward(target, request, sent, fault === 'cut-request');
  const back = await bodyOf(answer);
  if (fault === 'lose-answer') return void response.destroy();
  if (fault === 'corrupt-answer' && back.byteLength > 0) back[back.byteLength >> 1]! ^= 1;
  response.writeHead(
    answer.statusCode!,
    answer.rawHeaders.filter((_, i, all) => !/^(transfer-encoding|connection)$/i.test(all[i & ~1]!)),
  );
  if (fault !== 'cut-answer') return void response.end(back);
  response.write(back.subarray(0, back.byteLength >> 1), () => response.destroy());
}

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The host that the sender signed stays. `isCut`: ends before the length that was promised. */
function forward(target: string, request: IncomingMessage, body: Buffer, isCut: boolean): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { expect: _, ...headers } = request.headers;
    const onward = httpRequest(new URL(request.url!, target), { method: request.method!, headers });
    onward.once('response', resolve).once('error', reject);
    if (!isCut) return void onward.end(body);
    onward.write(body, () => {
      onward.destroy(new Error('cut'));
    });
  });
}
