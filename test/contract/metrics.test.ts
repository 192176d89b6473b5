import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

const DASHBOARD = 'docs/operations/grafana-dashboard.json';
const ALERTS = 'docs/operations/prometheus-alerts.yml';
/** Labels that Prometheus adds when it reads the metrics. */
const LABELS_OF_PROMETHEUS = ['instance', 'job'];

/** Runs Prometheus's checker; `.ci/programs` installs it. @returns what it prints */
async function promtool(args: readonly string[], input = ''): Promise<string> {
  const running = promisify(execFile)('promtool', args);
  running.child.stdin?.end(input);
  const { stdout, stderr } = await running;
  return stdout + stderr;
}

/** The names and the labels of metrics in texts with PromQL. */
function usedIn(text: string): { name: string; labels: string[] }[] {
  const used = text.matchAll(/\b((?:flovo|nodejs|process)_\w+)(?:\{([^}]*)\})?/g);
  return [...used].map(([, name = '', matchers = '']) => ({
    name,
    labels: [...matchers.matchAll(/(\w+)\s*[=!]/g)].map(([, label = '']) => label),
  }));
}

/** The labels of each metric in the format of Prometheus, by its name. Some have no series yet. */
function labelsByName(metrics: string): Map<string, Set<string>> {
  const types = metrics.matchAll(/^# TYPE (\w+) (?:counter|gauge)$/gm);
  const found = new Map([...types].map(([, name = '']) => [name, new Set(LABELS_OF_PROMETHEUS)]));
  for (const [, name = '', labels = ''] of metrics.matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
    const known = found.get(name) ?? new Set(LABELS_OF_PROMETHEUS);
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
    found.set(name, known);
  }
  return found;
}

const LIST = `query ListBots($orgId: ID!) {
  bots(orgId: $orgId) { items { id name stats { totalMessages } } total }
}`;
const RENAME = `mutation Rename($id: ID!, $name: String!) { updateBot(id: $id, input: { name: $name }) { version } }`;
const RECORD = `mutation Record($id: ID!) {
  recordMessages(botId: $id, messages: [{
    conversationId: "c", contactId: "c", direction: INBOUND, status: DELIVERED, text: "secret" }]) { totalMessages }
}`;

describe('/metrics', () => {
  let fixture: Fixture;
  let botId: string;

  beforeAll(async () => {
    fixture = await createFixture({ DATABASE_POOL_MAX: '7' });
    [botId] = (await addBots(fixture.database.sql, fixture.orgId, 3)) as [string];
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const metric = async (name: string, labels?: Record<string, string>) =>
    await fixture.app.metric(name, labels);
  const post = async (body: string, headers: Record<string, string> = {}) =>
    await fetch(fixture.app.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${fixture.owner.token}`,
        ...headers,
      },
      body,
    });
  /** How much metrics grow by some work. */
  const growthBy = async (
    work: () => Promise<unknown>,
    ...wanted: [name: string, labels?: Record<string, string>][]
  ): Promise<number[]> => {
    const values = async () => await Promise.all(wanted.map(async (each) => await metric(...each)));
    const before = await values();
    await work();
    return (await values()).map((value, i) => value - (before[i] as number));
  };
  const errors = (code: string): [string, Record<string, string>] => ['flovo_graphql_errors_total', { code }];
  const operations = (operation: string, type: string): [string, Record<string, string>] => [
    'flovo_graphql_operation_duration_seconds_count',
    { operation, type },
  ];

  test('tells what runs', async () => {
    expect(await metric('flovo_build_info', { version: '0.1.0', node: process.versions.node })).toBe(1);
    expect(await metric('nodejs_eventloop_lag_seconds')).toBeGreaterThanOrEqual(0);
  });

  test('counts what is stored in Redis, and what a writer replaces there', async () => {
    await fixture.owner.sendText(LIST, { orgId: fixture.orgId });
    const stored = async () =>
      await metric('flovo_cache_fills_total', { resource: 'botStats', result: 'stored' });
    await eventually(async () => (await stored()) === 3);
    expect(await metric('flovo_cache_fills_total', { result: 'outdated' })).toBe(0);
    const replaced: [string, Record<string, string>] = [
      'flovo_cache_replacements_total',
      { resource: 'botStats', result: 'replaced' },
    ];
    const record = async () => await fixture.owner.sendText(RECORD, { id: botId });
    expect(await growthBy(record, replaced)).toEqual([1]);
  });

  test('counts invalidated tags by their cause', async () => {
    const invalidated = (cause: string): [string, Record<string, string>] => [
      'flovo_cache_invalidated_tags_total',
      { cause },
    ];
    const rename = async () => await fixture.owner.sendText(RENAME, { id: botId, name: 'other' });
    expect(await growthBy(rename, invalidated('mutation'))).toEqual([3]);
    const before = (await metric(...invalidated('log'))) + (await metric(...invalidated('helped')));
    await fixture.database.sql`update bots set name = 'from outside' where id = ${botId}`;
    await eventually(
      async () => (await metric(...invalidated('log'))) + (await metric(...invalidated('helped'))) > before,
    );
  });

  test('times operations by their names, cached responses included', async () => {
    const list = async () => await fixture.owner.sendText(LIST, { orgId: fixture.orgId });
    await eventually(async () => {
      const [hits] = await growthBy(list, ['flovo_cache_hits_total', { resource: 'response' }]);
      return hits === 1;
    });
    expect(
      await growthBy(list, operations('ListBots', 'query'), [
        'flovo_cache_hits_total',
        { resource: 'response' },
      ]),
    ).toEqual([1, 1]);
    const both = `{ me { id } } `;
    expect(
      await growthBy(
        async () => await fixture.owner.sendText(both),
        operations('anonymous', 'query'),
        operations('ListBots', 'query'),
      ),
    ).toEqual([1, 0]);
    expect(
      await growthBy(
        async () => await fixture.owner.sendText(RENAME, { id: botId, name: 'third' }),
        operations('Rename', 'mutation'),
      ),
    ).toEqual([1]);
  });

  test('times statements, round trips to Redis and the wait for a connection', async () => {
    const search = async () =>
      await fixture.owner.sendText(
        `query Search($orgId: ID!) { bots(orgId: $orgId, search: "x") { total } }`,
        {
          orgId: fixture.orgId,
        },
      );
    const grown = await growthBy(
      search,
      ['flovo_sql_statement_duration_seconds_count'],
      ['flovo_sql_statement_duration_seconds_sum'],
      ['flovo_sql_pool_wait_duration_seconds_count'],
      ['flovo_redis_round_trip_duration_seconds_count', { operation: 'read' }],
      ['flovo_redis_round_trip_duration_seconds_sum', { operation: 'read' }],
    );
    for (const growth of grown) expect(growth).toBeGreaterThan(0);
    expect(await metric('flovo_sql_statement_duration_seconds_count')).toBe(
      await metric('flovo_sql_statements_total'),
    );
    expect(
      await metric('flovo_sql_statement_duration_seconds_bucket', { le: '0.0001' }),
    ).toBeGreaterThanOrEqual(0);
    expect(await metric('flovo_sql_statement_duration_seconds_bucket', { le: '10' })).toBeGreaterThan(0);
  });

  test('shows the pool of connections', async () => {
    const { sql } = fixture.database;
    expect(await metric('flovo_sql_pool_max_connections')).toBe(7);
    const lock = await sql.reserve();
    try {
      await lock`begin`;
      await lock`lock table bots in access exclusive mode`;
      // More than there are connections, and each another read.
      const reads = Array.from({ length: 9 }, async (_, i) =>
        fixture.owner.sendText(
          `query Read($orgId: ID!) { bots(orgId: $orgId, search: "read ${i}") { total } }`,
          {
            orgId: fixture.orgId,
          },
        ),
      );
      // Some connections are left to other organizations.
      await eventually(async () => (await metric('flovo_sql_pool_waiting')) === 4);
      await eventually(async () => (await metric('flovo_sql_pool_connections_in_use')) === 5);
      await lock`commit`;
      await Promise.all(reads);
    } finally {
      await lock`rollback`;
      lock.release();
    }
    await eventually(async () => (await metric('flovo_sql_pool_connections_idle')) >= 5);
    expect(await metric('flovo_sql_pool_waiting')).toBe(0);
  });

  test('shows the size of the response cache', async () => {
    expect(await metric('flovo_response_cache_entries')).toBeGreaterThan(0);
    expect(await metric('flovo_response_cache_bytes')).toBeGreaterThan(500);
  });

  describe('counts errors of answers by their codes', () => {
    const MISSING = `query Missing($id: ID!) { bot(id: $id) { id } }`;
    const missing = { id: '00000000-0000-4000-8000-000000000000' };

    test('of Apollo Server, and of a document that is known', async () => {
      for (let time = 1; time <= 2; time++) {
        const ask = async () => await fixture.owner.sendText(MISSING, missing);
        expect(await growthBy(ask, errors('NOT_FOUND'))).toEqual([1]);
      }
    });

    test.each([
      ['a document that is not valid', 'GRAPHQL_VALIDATION_FAILED', JSON.stringify({ query: '{ nothing }' })],
      ['a document that is no GraphQL', 'GRAPHQL_PARSE_FAILED', JSON.stringify({ query: '{' })],
      ['a body without a query', 'BAD_REQUEST', '{}'],
      ['a body that is not JSON', 'BAD_USER_INPUT', '{'],
      [
        'variables that are too large',
        'BAD_USER_INPUT',
        JSON.stringify({ query: LIST, variables: { orgId: Array.from({ length: 60_000 }, () => []) } }),
      ],
    ])('of %s', async (_, code, body) => {
      expect(
        await growthBy(async () => await post(body), errors(code), ['flovo_graphql_errors_total']),
      ).toEqual([1, 1]);
    });

    test('of another type of body, and of a caller without a token', async () => {
      const asText = async () => await post('{}', { 'content-type': 'text/plain' });
      expect(await growthBy(asText, errors('BAD_USER_INPUT'))).toEqual([1]);
      const ask = async () => await fixture.app.client(undefined).sendText('{ me { id } }');
      expect(await growthBy(ask, errors('UNAUTHENTICATED'))).toEqual([1]);
    });

    test('but not what other paths answer', async () => {
      const ask = async () => await fetch(new URL('/nothing', fixture.app.url));
      expect(await growthBy(ask, ['flovo_graphql_errors_total'])).toEqual([0]);
    });
  });

  test('has a bounded number of operations, however many names clients make up', async () => {
    const strangers = fixture.app.client(undefined);
    await strangers.sendText('query Stranger { me { id } }');
    await fixture.owner.sendText(`query ${'L'.repeat(101)} { me { id } }`);
    for (let from = 0; from < 250; from += 25) {
      const queries = Array.from({ length: 25 }, (_, i) => `query Made_up_${from + i} { me { id } }`);
      await Promise.all(queries.map(async (query) => await fixture.owner.sendText(query)));
    }
    const text = await (await fetch(new URL('/metrics', fixture.app.url))).text();
    const series = text.matchAll(/^flovo_graphql_operation_duration_seconds_count\{operation="(\w+)"/gm);
    const names = new Set([...series].map(([, name]) => name));
    expect(names.size).toBe(202);
    expect(names).toContain('anonymous');
    expect(names).not.toContain('Stranger');
    expect([...names].some((name) => name?.startsWith('LLL'))).toBe(false);
    expect(await metric(...operations('other', 'query'))).toBeGreaterThan(50);
  });

  describe('serves what the files for operators use:', () => {
    const read = async () => await (await fetch(new URL('/metrics', fixture.app.url))).text();

    beforeAll(async () => {
      // Families with labels have no series before something is counted.
      const list = async () => await fixture.owner.sendText(LIST, { orgId: fixture.orgId });
      await list();
      await fixture.owner.sendText(RENAME, { id: botId, name: 'for the files' });
      await fixture.owner.sendText(RECORD, { id: botId });
      await fixture.app.client(undefined).sendText('{ me { id } }');
      await list();
      fixture.redis.freeze();
      await eventually(async () => (await metric('flovo_redis_up')) === 0);
      fixture.redis.thaw();
      await eventually(async () => (await metric('flovo_redis_up')) === 1);
    });

    test.each([DASHBOARD, ALERTS])('every metric and label in %s', async (file) => {
      const text = (await readFile(file, 'utf8')).replaceAll('\\"', '"');
      const served = labelsByName(await read());
      const used = usedIn(text);
      expect(used.length).toBeGreaterThan(10);
      for (const { name, labels } of used) {
        expect([...served.keys()]).toContain(name);
        for (const label of labels) expect([name, ...(served.get(name) ?? [])]).toContain(label);
      }
      const all = new Set([...served.values()].flatMap((labels) => [...labels]));
      const grouped = [...text.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, by = '']) => by.split(/,\s*/));
      const shown = [...text.matchAll(/(?:\$labels\.|\{\{)(\w+)/g)].map(([, label = '']) => label);
      for (const label of [...grouped, ...shown]) expect([...all]).toContain(label);
    });

    test('the alerts are valid, and each says what to do', async () => {
      expect(await promtool(['check', 'rules', ALERTS])).toMatch(/SUCCESS: \d+ rules found/);
      const text = await readFile(ALERTS, 'utf8');
      const alerts = text.split(/^ +- alert: /m).slice(1);
      expect(alerts.length).toBeGreaterThan(5);
      for (const alert of alerts) expect(alert).toMatch(/^ +runbook: *\S/m);
    });

    test('the alerts fire when they should, and are silent when all is well', async () => {
      expect(await promtool(['test', 'rules', 'test/contract/alerts.promtool.yml'])).toMatch(/SUCCESS/);
    });

    test('the dashboard is what Grafana imports: each panel has a title and asks something', async () => {
      const { panels } = JSON.parse(await readFile(DASHBOARD, 'utf8')) as {
        panels: { id: number; type: string; title: string; targets?: { expr: string }[] }[];
      };
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      for (const { type, title, targets } of panels) {
        expect(title).not.toBe('');
        if (type !== 'row') expect(targets?.length).toBeGreaterThan(0);
      }
    });

    test("the metrics follow Prometheus's conventions", async () => {
      const ours = (await read())
        .split('\n')
        .filter((line) => /^(# (HELP|TYPE) )?flovo_/.test(line))
        .join('\n');
      expect(await promtool(['check', 'metrics'], `${ours}\n`)).toBe('');
    });
  });
});
