import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long requests under way may take after the listener closes (ms); later ones are cut off. */
const MAX_UNDER_WAY_MS = 10_000;
/** How long to wait for the first request on a connection (ms): a balancer that just opened it may send one. */
const MAX_SILENCE_MS = 1_000;
/** How often to look for connections that have become idle (ms). */
const LOOK_EVERY_MS = 50;
/** After a turn of the event loop shorter than this (ms), everything that arrived before it was read. */
const QUIET_TURN_MS = 2;
/** How long to read data that was already sent (ms): each turn of the event loop accepts one connection. */
const MAX_READING_MS = 2_000;

/**
 * Takes a server out of use without cutting off a request. Call `begin` first, while requests still arrive, and
 * `finish` last, before the listener is closed.
 */
export class Drain {
  private begun = false;
  private server: Server | undefined;
  /** Connections without a request so far. Node.js counts them as busy. */
  private readonly silent = new Set<Socket>();
  /** The number of connections and requests so far. */
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
   * Reads data that clients have already sent. Call it immediately before the listener is closed. Afterwards
   * connections are closed as they become idle, and all of them after ten seconds.
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
   * Waits for a turn of the event loop in which nothing arrived, and that was so short that hardly anything can have
   * arrived since. Closing a listener resets connections that were not accepted, and closing an idle connection loses
   * a request that was not read.
   */
  private async quietTurn(): Promise<void> {
    // The current turn may have begun long ago.
    await nextTurn();
    const endsAt = performance.now() + MAX_READING_MS;
    while (performance.now() < endsAt) {
      const [before, arrivals] = [performance.now(), this.arrivals];
      await nextTurn();
      if (this.arrivals === arrivals && performance.now() - before < QUIET_TURN_MS) return;
    }
  }
}
