import type { LogSource } from '../invalidation/invalidation-log.js';
import type { OpenConnection } from './connection.js';
import { LogConnection } from './log-connection.js';
import { LogLeader } from './log-leader.js';
import { LogPruner } from './log-pruner.js';
import { LogReader } from './log-reader.js';

/** The invalidation log in PostgreSQL, read and maintained over one connection. */
export function invalidationLogSource(open: OpenConnection): LogSource {
  const connection = new LogConnection(open);
  const reader = new LogReader(connection);
  const leader = new LogLeader(connection);
  const pruner = new LogPruner(connection);
  return {
    open: async () => await reader.open(),
    poll: async (since) => await reader.poll(since),
    lead: async () => await leader.lead(),
    prune: async (lowest, below) => await pruner.prune(lowest, below),
    close: async () => await connection.close(),
  };
}
