import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** One direction of a connection: its bytes that were received and not yet sent, in order. */
interface Lane {
  readonly to: Socket;
  readonly waiting: { readonly bytes: Buffer; readonly dueAt: number }[];
  timer?: NodeJS.Timeout | undefined;
  held: boolean;
}

/** Up: from the client to the server. */
export type Direction = 'up' | 'down';

/** Bytes that pass the proxy: as text, their direction, and the first bytes that the connection's client sent. */
export interface Passage {
  readonly direction: Direction;
  readonly text: string;
  readonly opening: string;
}

interface Link {
  opening: string | undefined;
  readonly client: Socket;
  readonly server: Socket;
  readonly up: Lane;
  readonly down: Lane;
  abandoned: boolean;
  /** The target has closed, but the proxy is stalled, so the client does not know. */
  ended: boolean;
}

/** Bytes that are being held back, see {@link TcpProxy.hold}. */
export interface Hold {
  /** Resolves when bytes that matched have arrived. */
  readonly caught: Promise<void>;
  /** Sends them on, in order. */
  release(): void;
}

/** A proxy between a real client and a real server that can break the network. */
export class TcpProxy {
  private readonly links = new Set<Link>();
  private readonly holds = new Set<{
    direction: Direction;
    matches: (text: string, opening: string) => boolean;
    catch: (lane: Lane) => void;
  }>();
  private watcher: ((passage: Passage) => void) | undefined;
  private stalled = false;
  private delayMs = 0;
  private server: Server | undefined;
  /** The number of connections made through it. */
  accepted = 0;

  private constructor(
    readonly port: number,
    private target: URL,
  ) {}

  /** @param targetUrl the server's URL: `redis://127.0.0.1:6379`, `postgres://user@127.0.0.1:5432/db` */
  static async before(targetUrl: string): Promise<TcpProxy> {
    const server = createServer();
    server.listen({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    const proxy = new TcpProxy((server.address() as AddressInfo).port, new URL(targetUrl));
    proxy.serve(server);
    return proxy;
  }

  /** The target's URL with this proxy's address instead. */
  get url(): string {
    const url = new URL(this.target);
    url.host = `127.0.0.1:${this.port}`;
    return url.href;
  }

  get open(): number {
    return this.links.size;
  }

  /** Breaks all connections. New ones are served. */
  cut(): void {
    for (const { client, server } of this.links) {
      // Do not reset a socket that is shutting down: Node would never close it.
      if (client.writableEnded) client.destroy();
      else client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Breaks all connections and refuses new ones. */
  refuse(): void {
    this.server?.close();
    this.server = undefined;
    this.cut();
  }

  /** Stops all bytes in both directions; connections stay open, and new ones are accepted. */
  stall(): void {
    this.stalled = true;
  }

  /** Delays all bytes by this time (ms). */
  delay(ms: number): void {
    this.delayMs = ms;
  }

  /**
   * Silences the connections that are open now for ever, as a firewall that has forgotten them. New connections work.
   */
  abandon(): void {
    for (const link of this.links) link.abandoned = true;
  }

  /**
   * Holds back the first bytes of that direction whose text matches, and all later bytes of their connection. Other
   * connections are not affected.
   * @param matches receives the text, and the first bytes that the connection's client sent.
   */
  hold(matches: (text: string, opening: string) => boolean, direction: Direction = 'up'): Hold {
    let lane: Lane | undefined;
    let tell = () => {};
    const caught = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const hold = {
      direction,
      matches,
      catch: (found: Lane) => {
        lane = found;
        found.held = true;
        this.holds.delete(hold);
        tell();
      },
    };
    this.holds.add(hold);
    return {
      caught,
      release: () => {
        this.holds.delete(hold);
        if (!lane) return;
        lane.held = false;
        this.pumpAll();
      },
    };
  }

  /** Calls `watcher` with all bytes before they are sent on; undefined ends it. */
  watch(watcher: ((passage: Passage) => void) | undefined): void {
    this.watcher = watcher;
  }

  /** Sends new connections to another address, after the server was restarted there. */
  retarget(targetUrl: string): void {
    this.target = new URL(targetUrl);
  }

  /** The number of chunks from the server that are held back. */
  get heldReplies(): number {
    return [...this.links].reduce((sum, { down }) => sum + down.waiting.length, 0);
  }

  /** Holds back all bytes from the server on the open connections until the returned function is called. */
  holdReplies(): () => void {
    const lanes = [...this.links].map(({ down }) => down);
    for (const lane of lanes) lane.held = true;
    return () => {
      for (const lane of lanes) lane.held = false;
      this.pumpAll();
    };
  }

  /** Ends stalling, refusing and delaying; held bytes are sent on. */
  async resume(): Promise<void> {
    this.stalled = false;
    this.delayMs = 0;
    this.pumpAll();
    if (this.server) return;
    const server = createServer();
    server.listen({ host: '127.0.0.1', port: this.port });
    await once(server, 'listening');
    this.serve(server);
  }

  close(): void {
    this.refuse();
  }

  private serve(server: Server): void {
    this.server = server;
    server.on('connection', (client) => this.link(client));
  }

  private link(client: Socket): void {
    this.accepted += 1;
    const server = connect({ host: this.target.hostname, port: Number(this.target.port) });
    const link: Link = {
      opening: undefined,
      client,
      server,
      up: { to: server, waiting: [], held: false },
      down: { to: client, waiting: [], held: false },
      abandoned: false,
      ended: false,
    };
    this.links.add(link);
    client.setNoDelay(true);
    server.setNoDelay(true);
    client.on('data', (bytes) => this.receive(link, 'up', bytes));
    server.on('data', (bytes) => this.receive(link, 'down', bytes));
    client.on('error', () => undefined);
    server.on('error', () => undefined);
    client.on('close', () => {
      this.links.delete(link);
      clearTimeout(link.up.timer);
      clearTimeout(link.down.timer);
      server.destroy();
    });
    server.on('close', () => {
      link.ended = true;
      this.pump(link, link.down);
    });
  }

  private receive(link: Link, direction: Direction, bytes: Buffer): void {
    const lane = link[direction];
    lane.waiting.push({ bytes, dueAt: performance.now() + this.delayMs });
    link.opening ??= bytes.toString('latin1');
    const isHeld = lane.held;
    if (this.watcher || (!isHeld && this.holds.size > 0)) {
      const { opening } = link;
      const text = bytes.toString('latin1');
      this.watcher?.({ direction, text, opening });
      for (const hold of isHeld ? [] : this.holds) {
        if (hold.direction === direction && hold.matches(text, opening)) {
          hold.catch(lane);
          break;
        }
      }
    }
    this.pump(link, lane);
  }

  private pumpAll(): void {
    for (const link of this.links) {
      this.pump(link, link.up);
      this.pump(link, link.down);
    }
  }

  private pump(link: Link, lane: Lane): void {
    clearTimeout(lane.timer);
    if (this.stalled || link.abandoned || lane.held) return;
    for (let next = lane.waiting[0]; next; next = lane.waiting[0]) {
      const waitMs = this.delayMs > 0 ? next.dueAt - performance.now() : 0;
      if (waitMs > 0) {
        lane.timer = setTimeout(() => this.pump(link, lane), waitMs);
        return;
      }
      lane.waiting.shift();
      lane.to.write(next.bytes);
    }
    if (link.ended && lane === link.down) link.client.destroySoon();
  }
}
