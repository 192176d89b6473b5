import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';

import type { Fleet } from './fleet.js';
import type { BotRecord, History } from './history.js';
import { TERMS } from './history.js';
import type { Mutations } from './mutations.js';
import {
  readBots,
  readDetails,
  readMessages,
  readMoment,
  readOrganization,
  readOrganizationStats,
  readPages,
  readPageWithStats,
  readStats,
  type Reading,
} from './readings.js';
import { Moment } from './moment.js';
import { between } from './span.js';
import { OutsideWriter } from './outside-writer.js';
import type { Fixture } from './fixture.js';

/** The number of clients of each kind, and the average pause of a client between two requests (ms). */
export interface Load {
  readonly readers: number;
  readonly readerPauseMs: number;
  readonly writers: number;
  readonly writerPauseMs: number;
  /** Clients that write by SQL, past all servers. */
  readonly outsideWriters: number;
  readonly outsideWriterPauseMs: number;
}

/** Limit of bots in an organization: all of them fit on one page. */
const MAX_BOTS = 95;
const MIN_BOTS = 40;

/** Concurrent clients of all servers; each sends random requests one after another. */
export class Workload {
  private stopping = false;
  private clients: Promise<void>[] = [];
  private messagesAllowed = true;
  private recording = 0;
  /** The last 50 deleted bots; a read of one must find nothing. */
  private readonly deleted: BotRecord[] = [];

  constructor(
    private readonly parts: {
      readonly fleet: Fleet;
      readonly history: History;
      readonly mutations: Mutations;
      readonly fixture: Fixture;
      readonly sql: postgres.Sql;
    },
  ) {}

  start(load: Load): void {
    this.stopping = false;
    const client = async (pauseMs: number, step: () => Promise<unknown>): Promise<void> => {
      while (!this.stopping) {
        await step();
        if (pauseMs > 0) await sleep(between(0, 2 * pauseMs));
      }
    };
    for (let i = 0; i < load.readers; i++) {
      this.clients.push(client(load.readerPauseMs, async () => await this.read()));
    }
    for (let i = 0; i < load.writers; i++) {
      this.clients.push(client(load.writerPauseMs, async () => await this.write()));
    }
    for (let i = 0; i < load.outsideWriters; i++) {
      const writer = new OutsideWriter(this.parts);
      const write = async () => await this.writeOutside(writer);
      this.clients.push(client(load.outsideWriterPauseMs, write));
    }
  }

  /** Stops all clients and waits for their last answers. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.clients);
    this.clients = [];
  }

  /** Waits for pending writes of messages, and blocks new ones until the returned function is called. */
  async holdMessages(): Promise<() => void> {
    this.messagesAllowed = false;
    while (this.recording > 0) await sleep(2);
    return () => {
      this.messagesAllowed = true;
    };
  }

  /** Reads everything through every live server. */
  async readAll(): Promise<void> {
    const { fleet, history, fixture } = this.parts;
    for (const { server } of fleet.berths) {
      if (!server.isAlive) continue;
      for (const orgId of fixture.orgIds) {
        const bots = history.botsOf(orgId);
        const readings = [readOrganization(orgId), readOrganizationStats(orgId), readPages(orgId)];
        for (let page = 1; page <= 3; page++) readings.push(readPageWithStats(orgId, page));
        for (let i = 0; i < bots.length; i += 20) {
          const some = bots.slice(i, i + 20);
          readings.push(readBots(some), readDetails(some), readStats(some), readMessages(some));
        }
        for (const reading of readings) await this.perform(reading, server);
      }
    }
  }

  /** Sends one query and checks the answer. */
  async perform(reading: Reading, server = this.parts.fleet.any): Promise<void> {
    const { fleet, history } = this.parts;
    const from = performance.now();
    const answer = await fleet.ask(server, reading.text, reading.variables);
    if (!answer) return;
    const window = { from, to: performance.now(), server: server.name, moment: new Moment() };
    for (const problem of reading.observe(answer, history, window)) fleet.failed(server, from, problem);
    history.observeMoment(window);
  }

  private async read(): Promise<void> {
    const orgId = this.anyOrganization;
    const dice = Math.random();
    if (Math.random() < 0.15) await this.perform(this.anyMoment(orgId));
    else if (dice < 0.1) await this.perform(readOrganizationStats(orgId));
    else if (dice < 0.2) await this.perform(readOrganization(orgId));
    else if (dice < 0.45) await this.perform(readPages(orgId));
    else if (dice < 0.6) await this.perform(readPageWithStats(orgId, 1 + Math.floor(Math.random() * 2)));
    else {
      const bots = this.someBots(orgId, 20);
      if (bots.length === 0) return;
      if (dice < 0.72) await this.perform(readBots(bots));
      else if (dice < 0.92) await this.perform(dice < 0.82 ? readDetails(bots) : readStats(bots));
      else await this.perform(readMessages(bots.slice(0, 5)));
    }
  }

  private anyMoment(orgId: string): Reading {
    const pairs = this.parts.fixture.pairs.filter(({ bots }) => bots[0].orgId === orgId);
    const pair = pairs[Math.floor(Math.random() * pairs.length)];
    return readMoment(orgId, [...new Set([...(pair?.bots ?? []), ...this.someBots(orgId, 8)])]);
  }

  private async writeOutside(writer: OutsideWriter): Promise<void> {
    const dice = Math.random();
    const { pairs } = this.parts.fixture;
    const pair = pairs[Math.floor(Math.random() * pairs.length)];
    const bot = this.someBots(this.anyOrganization, 1)[0];
    if (pair && dice < 0.5) await writer.writePair(pair);
    else if (bot && !bot.pair && dice < 0.75) await writer.writeBot(bot);
    else if (bot) await this.writeMessages(async () => await writer.writeMessage(bot));
  }

  private async write(): Promise<void> {
    const { fleet, history, mutations, fixture } = this.parts;
    const server = fleet.any;
    const orgId = this.anyOrganization;
    const bot = this.someBots(orgId, 1)[0];
    const dice = Math.random();
    const count = history.botsOf(orgId).length;
    if (!bot || (dice < 0.06 && count < MAX_BOTS)) {
      await mutations.create(server, orgId, TERMS[Math.random() < 0.5 ? 0 : 1]);
    } else if (bot.isBeingDeleted) {
      return;
    } else if (dice < 0.12 && count > MIN_BOTS && !bot.pair) {
      await mutations.delete(server, bot);
      this.deleted.push(bot);
      if (this.deleted.length > 50) this.deleted.shift();
    } else if (dice < 0.4) {
      // Writes outdate these statistics so often that random reads seldom hit, so some writers read before and after.
      const reading = Math.random() < 0.3 ? readOrganizationStats(orgId) : undefined;
      if (reading) await this.perform(reading);
      await this.writeMessages(async () => {
        const message = dice < 0.18 ? fixture.pending.pop() : undefined;
        if (message) await mutations.mark(server, message);
        else await mutations.record(server, bot, 1 + Math.floor(Math.random() * 3));
      });
      if (reading) await this.perform(reading);
    } else if (dice < 0.6) {
      await mutations.setRunning(server, bot, Math.random() < 0.5);
    } else {
      await mutations.update(server, bot);
    }
  }

  private async writeMessages(write: () => Promise<void>): Promise<void> {
    if (!this.messagesAllowed) return;
    this.recording += 1;
    try {
      await write();
    } finally {
      this.recording -= 1;
    }
  }

  private get anyOrganization(): string {
    const { orgIds } = this.parts.fixture;
    return orgIds[Math.floor(Math.random() * orgIds.length)] as string;
  }

  /** Distinct random bots: some are chosen much more often than the rest, and one may have been deleted. */
  private someBots(orgId: string, limit: number): BotRecord[] {
    const bots = this.parts.history.botsOf(orgId);
    const chosen = new Set<BotRecord>();
    for (let i = 0; i < limit && bots.length > 0; i++) {
      const bot = bots[Math.floor(bots.length * Math.random() ** 3)];
      if (bot) chosen.add(bot);
    }
    const gone = this.deleted[Math.floor(Math.random() * this.deleted.length)];
    if (limit > 1 && gone?.orgId === orgId) chosen.add(gone);
    return [...chosen].slice(0, limit);
  }
}
