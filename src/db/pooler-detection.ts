import { openDriver, type Sql } from './driver.js';
import { endpointKind, rememberEndpointKind, type EndpointKind } from './endpoint-kind.js';

/** Opening the connection included (ms). */
const DETECTION_TIMEOUT_MS = 6_000;

const underWay = new Map<string, Promise<EndpointKind>>();

/**
 * Whether the session behind a connection is the connection's own: PostgreSQL tells each connection the process id of
 * its session, and a pooler, which has no such session yet, makes one up.
 */
export async function askEndpointKind(sql: Sql): Promise<EndpointKind> {
  const rows = await sql.unsafe<{ pid: number }[]>('select pg_catalog.pg_backend_pid() as pid');
  return rows[0]?.pid === rows.state.pid ? 'direct' : 'pooled';
}

/**
 * Finds out once in a process what answers at a URL, with a connection of its own.
 * @throws what opening the connection throws
 */
export async function findEndpointKind(url: string): Promise<EndpointKind> {
  const known = endpointKind(url);
  if (known !== undefined) return known;
  const running = underWay.get(url);
  if (running) return await running;
  const finding = detect(url).finally(() => underWay.delete(url));
  underWay.set(url, finding);
  return await finding;
}

async function detect(url: string): Promise<EndpointKind> {
  const sql = openDriver(url, { max: 1, connection: { application_name: 'flovo-bots' } });
  const timer = setTimeout(() => void sql.end({ timeout: 0 }), DETECTION_TIMEOUT_MS);
  try {
    const kind = await askEndpointKind(sql);
    rememberEndpointKind(url, kind);
    return kind;
  } finally {
    clearTimeout(timer);
    // Nobody waits for the farewell.
    sql.end({ timeout: 1 }).catch(() => undefined);
  }
}
