import { openDriver, type Sql } from './driver.js';
import { endpointKind, rememberEndpointKind, type EndpointKind } from './endpoint-kind.js';

/** Includes opening the connection (ms). */
const DETECTION_TIMEOUT_MS = 6_000;

const underWay = new Map<string, Promise<EndpointKind>>();

/**
 * Whether the session belongs to the connection. PostgreSQL reports the process id of its session to each connection;
 * a pooler has no session yet at that time, and makes up an id.
 */
export async function askEndpointKind(sql: Sql): Promise<EndpointKind> {
  const rows = await sql.unsafe<{ pid: number }[]>('select pg_catalog.pg_backend_pid() as pid');
  return rows[0]?.pid === rows.state.pid ? 'direct' : 'pooled';
}

/**
 * Detects once in a process what kind of server is at a URL, over a separate connection.
 * @throws any error of opening the connection
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
    // Do not wait for the connection to close.
    sql.end({ timeout: 1 }).catch(() => undefined);
  }
}
