import type postgres from 'postgres';
import { Pool } from 'undici';

import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import {
  addMembers,
  FIRST_YEAR_OF_SERVERS,
  IDS,
  readTables,
  resetBots,
  signAuthorizations,
  type Caller,
} from './fixture.js';
import { startOracle, type Oracle } from './oracle.js';
import { requestOf, type Answer, type Ask, type Case, type Request } from './requests.js';

/**
 * The variant of the text that is sent at each time. Apollo Server answers the first, the document cache serves the second
 * and third, and the response cache the fourth and fifth.
 */
const VARIANTS = [0, 1, 2, 2, 1] as const;
const MAX_CONNECTIONS = 32;
const MAX_ANSWER_MS = 60_000;
/** One in this many requests is sent to the oracle over HTTP instead of in this process. */
const ORACLE_OVER_HTTP = 50;
/** The contract's limit for a write by SQL to become visible, and room for a busy machine. */
const MAX_STALENESS_MS = 5_000;

/** A difference between the answers of the server and the oracle. */
export interface Difference {
  /** The part of the answer that differs: `status`, `content-type`, `data`, `order of keys`, `errors`, … */
  readonly kind: string;
  readonly ask: Ask;
  /** The number of the repetition, from 1. */
  readonly time: number;
  readonly server: Answer;
  readonly oracle: Answer;
}

export interface Tally {
  readonly startedAt: number;
  requests: number;
  /** Requests whose operation was executed: they have data, be it null. */
  executed: number;
  /** Requests whose answers have errors that the server hides. */
  masked: number;
}

/** The server with all its caches, and the oracle, each with a database of its own that holds the same. */
export class Sides {
  private tally = newTally();
  private resets = 0;
  private answersOfOracle = 0;

  private constructor(
    private readonly server: ServerProcess,
    private readonly redis: RedisService,
    private readonly databases: { readonly server: TestDatabase; readonly oracle: TestDatabase },
    private readonly oracle: Oracle,
    private readonly authorizations: Readonly<Record<Caller, string | undefined>>,
    private readonly pools: { readonly server: Pool; readonly oracle: Pool },
  ) {}

  static async start(): Promise<Sides> {
    const [server, other, redis, authorizations] = await Promise.all([
      createDatabase(),
      createDatabase(),
      createRedis(),
      signAuthorizations(),
    ]);
    await Promise.all([addMembers(server.sql), addMembers(other.sql)]);
    // The compiled server, as production runs it: beside this process, which is slow under jest.
    const compiled = await startServerProcess({
      DATABASE_URL: server.url,
      REDIS_URL: redis.url,
      INTROSPECTION: 'on',
      PLAYGROUND: 'off',
    });
    const oracle = await startOracle(other.url);
    const poolOf = (url: string) =>
      new Pool(new URL(url).origin, { connections: MAX_CONNECTIONS, headersTimeout: MAX_ANSWER_MS });
    const pools = { server: poolOf(compiled.url), oracle: poolOf(oracle.url) };
    const sides = new Sides(compiled, redis, { server, oracle: other }, oracle, authorizations, pools);
    await sides.reset();
    return sides;
  }

  async close(): Promise<void> {
    await Promise.all([this.pools.server.close(), this.pools.oracle.close()]);
    await Promise.all([this.server.end('SIGTERM'), this.oracle.close()]);
    await this.redis.stop();
    await Promise.all([this.databases.server.drop(), this.databases.oracle.drop()]);
  }

  /** Resets the counts. */
  startTally(): Tally {
    return (this.tally = newTally());
  }

  /** Restores both databases, and waits until the server shows it. */
  async reset(): Promise<void> {
    const slug = `acme-${++this.resets}`;
    const query = `{ organization(id: "${IDS.organizations[0]}") { slug } }`;
    const ask: Ask = { caller: 'owner', accept: undefined, method: 'POST', text: JSON.stringify({ query }) };
    // Cache the value before the change, so that the change is visible only after the server has read it in the log.
    for (let time = 0; time < 2; time++) await this.askServer(ask, 0);
    const { server, oracle } = this.databases;
    await Promise.all([resetBots(server.sql, slug), resetBots(oracle.sql, slug)]);
    const deadline = performance.now() + MAX_STALENESS_MS;
    for (;;) {
      const { body } = await this.askServer(ask, 0);
      if (body.includes(slug)) break;
      if (performance.now() > deadline) throw new Error(`The server does not see the reset: ${body}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Sends all requests of a case five times, in turn. Returns the first difference. */
  async differ({ asks, isStateful }: Case): Promise<Difference | undefined> {
    const known: Answer[] = [];
    for (const [round, variant] of VARIANTS.entries()) {
      for (const [n, ask] of asks.entries()) {
        const askOracle = isStateful || round === 0;
        const [server, oracle] = await Promise.all([
          this.askServer(ask, variant),
          askOracle ? this.askOracle(ask, variant) : (known[n] as Answer),
        ]);
        known[n] = oracle;
        if (round === 0) this.count(oracle);
        const kind = kindOfDifference(server, oracle);
        if (kind === undefined || (kind === 'errors' && (await this.mayFailFirst(ask, server)))) continue;
        return { kind, ask, time: round + 1, server, oracle };
      }
    }
    return undefined;
  }

  async askServer(ask: Ask, variant: number): Promise<Answer> {
    try {
      return await send(this.pools.server, requestOf(ask, this.authorizations[ask.caller], variant));
    } catch (error) {
      return { status: 0, type: null, body: `no answer: ${String(error)}` };
    }
  }

  async askOracle(ask: Ask, variant: number): Promise<Answer> {
    const request = requestOf(ask, this.authorizations[ask.caller], variant);
    return ++this.answersOfOracle % ORACLE_OVER_HTTP === 0
      ? await send(this.pools.oracle, request)
      : await this.oracle.answer(request);
  }

  /**
   * Whether the oracle gives the same answer if the fields that failed at the server fail first: all of them, or those
   * that the server reports first.
   */
  private async mayFailFirst(ask: Ask, server: Answer): Promise<boolean> {
    if (/mutation/.test(ask.text)) return false;
    const { errors = [] } = JSON.parse(server.body) as { errors?: { path?: (string | number)[] }[] };
    const paths = errors.map(({ path = [] }) => path.join('.'));
    const request = requestOf(ask, this.authorizations[ask.caller], 0);
    for (let count = paths.length; count > 0; count--) {
      const first = new Set(paths.slice(0, count));
      if (kindOfDifference(server, await this.oracle.answer(request, first)) === undefined) return true;
    }
    return false;
  }

  /** The value of one of the server's counters, by its name and labels. */
  async counter(series: string): Promise<number> {
    const metrics = await (await fetch(new URL('/metrics', this.server.url))).text();
    const line = metrics.split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length));
  }

  /** The contents of both databases. */
  async tables(): Promise<{ server: Record<string, unknown[]>; oracle: Record<string, unknown[]> }> {
    const read = async (sql: postgres.Sql) => await readTables(sql);
    const [server, oracle] = await Promise.all([
      read(this.databases.server.sql),
      read(this.databases.oracle.sql),
    ]);
    return { server, oracle };
  }

  private count({ body }: Answer): void {
    this.tally.requests++;
    if (body.includes('"data":')) this.tally.executed++;
    if (body.includes('INTERNAL_SERVER_ERROR')) this.tally.masked++;
  }
}

const newTally = (): Tally => ({ startedAt: performance.now(), requests: 0, executed: 0, masked: 0 });

async function send(pool: Pool, { method, search, headers, body }: Request): Promise<Answer> {
  const response = await pool.request({
    path: `/graphql${search}`,
    method,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  const type = response.headers['content-type'];
  return {
    status: response.statusCode,
    type: typeof type === 'string' ? type : null,
    body: await response.body.text(),
  };
}

const KNOWN_IDS: ReadonlySet<string> = new Set(Object.values(IDS).flat());

/** A cursor, of an instant in this century. */
const CURSOR = /"([\w-]{69,75})"/g;

/** A body without values that differ between any two servers: new ids, the time, request ids. */
function normalize(body: string): string {
  const created = new Map<string, string>();
  return body
    .replaceAll(/"requestId":"[^"]*"/g, '"requestId":"…"')
    .replaceAll(/"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"/g, (instant, year: string) =>
      Number(year) < FIRST_YEAR_OF_SERVERS ? instant : '"now"',
    )
    .replaceAll(CURSOR, (cursor, text: string) => {
      const [, id] = Buffer.from(text, 'base64url').toString().split('.');
      return KNOWN_IDS.has(id ?? '') ? cursor : '"cursor"';
    })
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, (id) => {
      if (KNOWN_IDS.has(id.toLowerCase())) return id;
      const name = created.get(id) ?? `created ${created.size + 1}`;
      created.set(id, name);
      return name;
    });
}

function kindOfDifference(server: Answer, oracle: Answer): string | undefined {
  const isSameHead = server.status === oracle.status && server.type === oracle.type;
  if (isSameHead && server.body === oracle.body) return undefined;
  const [ours, theirs] = [normalize(server.body), normalize(oracle.body)];
  if (isSameHead && (ours === theirs || haveSameErrors(ours, theirs))) return undefined;
  const kinds: string[] = [];
  if (server.status !== oracle.status) kinds.push('status');
  if (server.type !== oracle.type) kinds.push('content-type');
  if (ours !== theirs) kinds.push(kindOfBodies(ours, theirs));
  return kinds.join(', ');
}

/** Whether two answers with data differ in the order of their errors only: that is the order in which fields fail. */
function haveSameErrors(ours: string, theirs: string): boolean {
  const form = /^\{"errors":(\[.*\]),("data":.*)$/s;
  const [, oursErrors, oursRest] = form.exec(ours) ?? [];
  const [, theirErrors, theirRest] = form.exec(theirs) ?? [];
  if (oursErrors === undefined || theirErrors === undefined || oursRest !== theirRest) return false;
  const sorted = (errors: string) =>
    (JSON.parse(errors) as unknown[]).map((each) => JSON.stringify(each)).sort();
  return JSON.stringify(sorted(oursErrors)) === JSON.stringify(sorted(theirErrors));
}

function kindOfBodies(ours: string, theirs: string): string {
  try {
    const parse = (text: string) => JSON.parse(text) as { data?: unknown; errors?: unknown };
    const sorted = (value: unknown) => JSON.stringify(value, sortKeys);
    const [a, b] = [parse(ours), parse(theirs)];
    if (sorted(a.data) !== sorted(b.data)) return 'data';
    if (sorted(a.errors) !== sorted(b.errors)) return 'errors';
    return sorted(a) === sorted(b) ? 'order of keys, or form' : 'other parts';
  } catch {
    return 'a body that is no JSON';
  }
}

const sortKeys = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    : value;
