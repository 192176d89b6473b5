import { connect, type Socket } from 'node:net';

/** Where a server listens. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** The address of a URL. */
export function targetOf(url: string): Target {
  const { hostname, port, pathname } = new URL(url);
  return { host: hostname, port: Number(port), path: pathname };
}

/** The bytes of a request, built once and sent often. */
export function encodeRequest(target: Target, request: { token: string | undefined; body: string }): Buffer {
  const body = Buffer.from(request.body);
  const head = [
    `POST ${target.path} HTTP/1.1`,
    `Host: ${target.host}:${target.port}`,
    'Content-Type: application/json',
    'Accept: application/json',
    ...(request.token === undefined ? [] : [`Authorization: Bearer ${request.token}`]),
    `Content-Length: ${body.length}`,
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** A response; `body` is empty unless it was requested. */
export interface Received {
  readonly status: number;
  /** Whether the answer begins with data, as one without errors does. */
  readonly hasData: boolean;
  readonly body: string;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');
const DATA = Buffer.from('{"data":{"');

/**
 * One keep-alive HTTP connection with one request at a time. It reads only the status, the length, and whether there are
 * data, because the generator shares the machine with the servers.
 */
export class Connection {
  private socket: Socket | undefined;
  private head: Buffer | undefined;
  private status = 0;
  private hasData = false;
  /** Bytes of the body still to receive; undefined until the head is complete. */
  private remaining: number | undefined;
  private chunked = false;
  private tail: Buffer = Buffer.alloc(0);
  private chunks: Buffer[] = [];
  private keepsBody = false;
  private settle: ((received: Received | Error) => void) | undefined;

  constructor(private readonly target: Target) {}

  async open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(this.target.port, this.target.host, resolve);
      socket.setNoDelay(true);
      socket.on('data', (chunk) => this.receive(chunk));
      socket.on('error', (error) => {
        reject(error);
        this.fail(error);
      });
      socket.on('close', () => this.fail(new Error('connection closed')));
      this.socket = socket;
    });
  }

  /** Sends a request; the one before must have been answered. */
  send(request: Buffer, settle: (received: Received | Error) => void, keepsBody = false): void {
    this.settle = settle;
    this.keepsBody = keepsBody;
    this.socket?.write(request);
  }

  /** As {@link send}, with the body. @throws Error if the connection breaks */
  async ask(request: Buffer): Promise<Received> {
    return await new Promise<Received>((resolve, reject) => {
      this.send(
        request,
        (received) => (received instanceof Error ? reject(received) : resolve(received)),
        true,
      );
    });
  }

  close(): void {
    this.settle = undefined;
    this.socket?.destroy();
  }

  private receive(chunk: Buffer): void {
    if (this.remaining === undefined && !this.chunked) {
      const head = this.head === undefined ? chunk : Buffer.concat([this.head, chunk]);
      const end = head.indexOf(HEAD_END);
      if (end < 0) {
        this.head = head;
        return;
      }
      this.head = undefined;
      this.readHead(head.toString('latin1', 0, end + 2));
      this.receiveBody(head.subarray(end + HEAD_END.length), true);
    } else {
      this.receiveBody(chunk, false);
    }
  }

  private readHead(head: string): void {
    this.status = Number(head.slice(9, 12));
    const [, length] = /\r\ncontent-length: *(\d+)\r\n/i.exec(head) ?? [];
    this.chunked = length === undefined;
    this.remaining = length === undefined ? undefined : Number(length);
    this.tail = Buffer.alloc(0);
  }

  private receiveBody(chunk: Buffer, isFirst: boolean): void {
    if (isFirst) this.hasData = chunk.subarray(0, 32).includes(DATA);
    if (this.keepsBody) this.chunks.push(chunk);
    if (this.chunked) {
      this.tail = Buffer.concat([this.tail.subarray(-8), chunk]);
      if (this.tail.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)) this.finish();
    } else {
      this.remaining = (this.remaining ?? 0) - chunk.length;
      if (this.remaining <= 0) this.finish();
    }
  }

  private finish(): void {
    const { settle, status, hasData } = this;
    const body = this.keepsBody ? Buffer.concat(this.chunks).toString() : '';
    this.remaining = undefined;
    this.chunked = false;
    this.chunks = [];
    this.settle = undefined;
    settle?.({ status, hasData, body });
  }

  private fail(error: Error): void {
    const { settle } = this;
    this.settle = undefined;
    settle?.(error);
  }
}
