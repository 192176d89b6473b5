import { graphqlRequest } from '../support/client.js';
import { Connection, encodeRequest, targetOf } from './connection.js';
import { seededRandom } from './random.js';
import type { StaleResult, StaleTask } from './tasks.js';

const WRITE =
  'mutation Write($id: ID!, $name: String!) { updateBot(id: $id, input: {name: $name}) { id version } }';
const READ_BOT = 'query ReadBot($id: ID!) { botDetails(id: $id) { bot { id version } } }';
const READ_PAGE = 'query ReadPage($orgId: ID!) { bots(orgId: $orgId, limit: 20) { items { id version } } }';

/** The newest version of a bot that a write has answered with, and when. */
interface Answered {
  version: number;
  at: number;
}

/**
 * Runs a {@link StaleTask}. The rule is the contract's: a read that starts after a mutation has answered must not show
 * an older version than that answer did.
 */
export async function runStaleReads(task: StaleTask): Promise<StaleResult> {
  const answered = new Map<string, Answered>();
  const result = { writes: 0, reads: 0, staleReads: 0, longestMs: 0, errors: 0 };
  const endsAt = performance.now() + task.durationMs;

  const write = async (connection: Connection, own: readonly string[]): Promise<void> => {
    const target = targetOf(task.urls[0] ?? '');
    for (let n = 0; performance.now() < endsAt; n++) {
      const id = own[n % own.length] as string;
      const name = `Written ${performance.now().toFixed(3)}`;
      const { body } = await connection.ask(
        encodeRequest(target, graphqlRequest(task.token, WRITE, { id, name })),
      );
      const [, version] = /"version":(\d+)/.exec(body) ?? [];
      if (version === undefined) result.errors++;
      else answered.set(id, { version: Number(version), at: performance.now() });
      result.writes++;
    }
  };

  const read = async (connection: Connection, url: string, seed: number): Promise<void> => {
    const target = targetOf(url);
    const random = seededRandom(seed);
    const page = encodeRequest(target, graphqlRequest(task.token, READ_PAGE, { orgId: task.orgId }));
    const bots = task.botIds.map((id) => encodeRequest(target, graphqlRequest(task.token, READ_BOT, { id })));
    while (performance.now() < endsAt) {
      const known = new Map([...answered].map(([id, { version, at }]) => [id, { version, at }]));
      const request = random() < 0.5 ? page : (bots[Math.floor(random() * bots.length)] as Buffer);
      const { body, hasData } = await connection.ask(request);
      if (!hasData) result.errors++;
      for (const [, id, version] of body.matchAll(/"id":"([^"]+)","version":(\d+)/g)) {
        result.reads++;
        const expected = known.get(id as string);
        if (expected === undefined || Number(version) >= expected.version) continue;
        result.staleReads++;
        result.longestMs = Math.max(result.longestMs, performance.now() - expected.at);
      }
    }
  };

  const connections: Connection[] = [];
  const open = async (url: string): Promise<Connection> => {
    const connection = new Connection(targetOf(url));
    await connection.open();
    connections.push(connection);
    return connection;
  };
  const half = Math.ceil(task.botIds.length / 2);
  const writers = [task.botIds.slice(0, half), task.botIds.slice(half)].map(
    async (own) => await write(await open(task.urls[0] ?? ''), own),
  );
  const readers = Array.from({ length: task.readers }, async (_, i) => {
    const url = task.urls[i % task.urls.length] as string;
    await read(await open(url), url, i);
  });
  await Promise.all([...writers, ...readers]);
  for (const connection of connections) connection.close();
  return result;
}
