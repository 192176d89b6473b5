import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** What is under way when the listener closes may take this long (ms); what takes longer is cut off. */
const MAX_UNDER_WAY_MS = 10_000;
/** A connection without a request so far is waited for this long (ms): a balancer that has just opened it sends one. */
const MAX_SILENCE_MS = 1_000;
/** How often connections are looked for that have become idle (ms). */
const LOOK_EVERY_MS = 50;
/** A turn of the event loop of this length (ms) has left nothing unread that came before it. */
const QUIET_TURN_MS = 2;
/** What has been sent already is read for at most this long (ms): a turn of the event loop accepts one connection. */
const MAX_READING_MS = 2_000;

/**
 * Takes a server out of use without cutting off a request: first `begin`, while requests still come, and at last, before
 * the listener is closed, `finish`.
 */
export class Drain {
  private begun = false;
  private server: Server | undefined;
  /** Connections on which no request has come yet. Node.js takes them for busy ones. */
  private readonly silent = new Set<Socket>();
  /** Connections and requests that have come so far. */
  private arrivals = 0;

  /** Whether the server is about to stop: it is not ready, and every response closes its connection. */
  get isDraining(): boolean {
    return this.begun;
  }

  /** Watches the connections of a server. Call it once, before the server listens. */
  watch(server: Server): void {
    this.server = server;
    server.on('connection', (socket: Socket) => {
      this.arrivals++;
      this.silent.add(socket);
      socket.once('close', () => this.silent.delete(socket));
    });
    server.on('request', ({ socket }) => {
      this.arrivals++;
      this.silent.delete(socket);
    });
  }

  /** From now on the server is not ready, and every response closes its connection. */
  begin(): void {
    this.begun = true;
  }

  /**
   * Reads what clients have sent already; call it right before the listener is closed. From then on connections are closed
   * as they become idle, and all of them after ten seconds.
   */
  async finish(): Promise<void> {
    this.begin();
    const { server } = this;
    if (!server?.listening) return;
    await this.quietTurn();
    const since = performance.now();
    const timer = setInterval(() => {
      const elapsedMs = performance.now() - since;
      server.closeIdleConnections();
      if (elapsedMs > MAX_SILENCE_MS) for (const socket of this.silent) socket.destroy();
      if (elapsedMs > MAX_UNDER_WAY_MS) server.closeAllConnections();
    }, LOOK_EVERY_MS);
    server.once('close', () => clearInterval(timer));
  }

  /**
   * Waits for a turn of the event loop in which nothing came, and that was so short that hardly anything can have come
   * since: closing a listener resets the connections that it has not accepted, and closing an idle connection the request
   * that was not read.
   */
  private async quietTurn(): Promise<void> {
    // The first turn may have begun long ago.
    await nextTurn();
    const endsAt = performance.now() + MAX_READING_MS;
    while (performance.now() < endsAt) {
      const [before, arrivals] = [performance.now(), this.arrivals];
      await nextTurn();
      if (this.arrivals === arrivals && performance.now() - before < QUIET_TURN_MS) return;
    }
  }
}
