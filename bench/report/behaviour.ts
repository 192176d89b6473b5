import type { FaultResult, Outage } from '../measure/faults.js';
import type { PairResult } from '../measure/pairs.js';
import { figure, percent, type Table } from './table.js';

/** Tables of two processes of a server: a cold burst, and stale reads. */
export function pairTables(results: readonly PairResult[]): Table[] {
  if (results.length === 0) return [];
  const burst: Table = {
    title: 'A cold burst over two processes',
    notes: [
      'The same list page, asked for over all connections at the same instant, with nothing cached. The SQL statements of both processes are counted; one read of the page is three: the caller, the page, and its statistics.',
    ],
    columns: ['server', 'requests', 'SQL statements', 'p50 ms', 'all answered after ms', 'errors'],
    rows: results.map(({ server, burst, burstStatements }) => [
      server.contender.title,
      String(burst.requests),
      String(burstStatements),
      figure(burst.p50Ms),
      figure(burst.elapsedMs),
      String(burst.errors),
    ]),
  };
  const stale: Table = {
    title: 'Stale reads beside writes, over two processes',
    notes: [
      'Two writers update eight bots through one process while sixteen readers read them, as details and on a list page, through both. A read is stale if it shows an older version than an update had answered before the read began.',
    ],
    columns: ['server', 'updates', 'versions read', 'stale', 'longest ms', 'errors'],
    rows: results.map(({ server, stale: { writes, reads, staleReads, longestMs, errors } }) => [
      server.contender.title,
      String(writes),
      String(reads),
      staleReads === 0 ? '0' : `${staleReads} (${percent(staleReads / reads)})`,
      staleReads === 0 ? '–' : figure(longestMs),
      String(errors),
    ]),
  };
  return [burst, stale];
}

/** A table of reads during many messages to one bot. */
export function busyBotTables(results: readonly PairResult[]): Table[] {
  if (results.length === 0) return [];
  return [
    {
      title: 'A bot that receives 200 messages a second',
      notes: [
        'One message a call, written through one process. Through another, bots and pages that nothing is written to are read, then the statistics of the busy bot itself. Hits are counted as each library counts them.',
      ],
      columns: [
        'server',
        'messages/s',
        'others: reads/s',
        'hits',
        'SQL a read',
        'busy bot: reads/s',
        'hits',
        'SQL a read',
        'errors',
      ],
      rows: results.map(({ server, busyBot: { others, busy, messagesPerSecond, writeErrors } }) => [
        server.contender.title,
        figure(messagesPerSecond),
        figure(others.requestsPerSecond),
        percent(others.hitRate),
        figure(others.statements),
        figure(busy.requestsPerSecond),
        percent(busy.hitRate),
        figure(busy.statements),
        String(others.errors + busy.errors + writeErrors),
      ]),
    },
  ];
}

/** A table of requests during an outage of Redis. */
export function faultTables(results: readonly FaultResult[]): Table[] {
  if (results.length === 0) return [];
  const cells = ({ firstMs, nextMs, updateMs, errors, requests }: Outage): string[] => [
    figure(firstMs),
    figure(nextMs),
    figure(updateMs),
    `${errors} of ${requests}`,
  ];
  return [
    {
      title: 'Redis frozen (SIGSTOP) and killed (SIGKILL)',
      notes: [
        "List pages, one after the other, then an update; 2,000 ms is where the client gave up. The opponents' clients are tuned as ours is: no offline queue, no retries, 100 ms for a command. All servers at the same time, so the times of answers from PostgreSQL are longer than they would be alone.",
      ],
      columns: [
        'server',
        'frozen: first ms',
        'next ms',
        'update ms',
        'failed',
        'killed: first ms',
        'next ms',
        'update ms',
        'failed',
        'answers after the thaw',
      ],
      rows: results.map(({ contender, frozen, killed, recovers }) => [
        contender.title,
        ...cells(frozen),
        ...cells(killed),
        recovers ? 'yes' : 'no',
      ]),
    },
  ];
}
