import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, SECRET } from '../support/people.js';
import { startServerProcess } from '../support/server-process.js';
import { startTraceCollector, type CollectedSpan, type TraceCollector } from '../support/trace-collector.js';
import { createFixture, type Fixture } from './fixture.js';

const LIST = `query ListBots($orgId: ID!, $search: String) {
  bots(orgId: $orgId, search: $search) { items { id name stats { totalMessages } } }
}`;
const RENAME = `mutation Rename($id: ID!, $name: String!) { updateBot(id: $id, input: { name: $name }) { id } }`;
const RECORD = `mutation Record($id: ID!, $text: String!) { recordMessages(botId: $id, messages: [{
  conversationId: "c", contactId: "c", direction: INBOUND, status: DELIVERED, text: $text }]) { totalMessages } }`;
const SECRET_TEXT = 'nobody may read this';
const COLLECTOR_TOKEN = 'the token of the collector';
const [SERVER, CLIENT, INTERNAL] = [2, 3, 1];
const BOTS = 5;

const newTraceId = () => randomBytes(16).toString('hex');
const CALLER_SPAN = '00f067aa0ba902b7';
const traceparent = (traceId: string, isSampled = true) =>
  `00-${traceId}-${CALLER_SPAN}-0${isSampled ? '1' : '0'}`;

let collector: TraceCollector;
let fixture: Fixture;
let botId: string;

beforeAll(async () => {
  collector = await startTraceCollector();
  fixture = await createFixture({
    OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`,
    OTEL_EXPORTER_OTLP_HEADERS: `x-collector-token=${encodeURIComponent(COLLECTOR_TOKEN)}`,
    OTEL_SERVICE_NAME: 'bots of the tests',
    DATABASE_STATEMENT_TIMEOUT_MS: '500',
  });
  [botId] = (await addBots(fixture.database.sql, fixture.orgId, BOTS)) as [string];
});

afterAll(async () => {
  await fixture?.close();
  await collector?.close();
});

interface Sent {
  readonly headers?: Record<string, string>;
  readonly app?: TestApp;
}

/** Sends an operation as a part of a trace, and returns the trace's id. */
async function send(query: string, variables: object, { headers = {}, app = fixture.app }: Sent = {}) {
  const traceId = newTraceId();
  const response = await fetch(app.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${fixture.owner.token}`,
      traceparent: traceparent(traceId),
      ...headers,
    },
    body: JSON.stringify({ query, variables }),
  });
  return { traceId, status: response.status, body: (await response.json()) as { errors?: unknown } };
}

const spansOf = (traceId: string): CollectedSpan[] =>
  collector.spans.filter((span) => span.traceId === traceId);

/** The spans of a trace, once one of this name was exported: what follows an answer may be exported later. */
async function traceOf(traceId: string, name = 'POST /graphql') {
  await eventually(() => spansOf(traceId).some((span) => span.name === name));
  const spans = spansOf(traceId);
  const named = (name: string) => spans.filter((span) => span.name === name);
  return { spans, named, request: named('POST /graphql')[0] as CollectedSpan };
}

// First, because the exports that fail are repeated for some seconds.
describe('a collector that fails', () => {
  // Nothing listens on this port.
  const UNREACHABLE = 'http://127.0.0.1:9';

  test('does no harm: requests are answered, and the server stops in time', async () => {
    const app = await startApp({
      DATABASE_URL: fixture.database.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: UNREACHABLE,
    });
    const statuses = new Set<number>();
    for (let batch = 0; batch < 20; batch++) {
      const sent = Array.from(
        { length: 50 },
        async () => await send(LIST, { orgId: fixture.orgId }, { app }),
      );
      for (const { status, body } of await Promise.all(sent)) {
        statuses.add(status);
        expect(body.errors).toBeUndefined();
      }
    }
    expect([...statuses]).toEqual([200]);
    const startedAt = performance.now();
    await app.close();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  test('does not fill the memory: of the spans that wait, a limited number is kept', async () => {
    let release = () => {};
    const hanging = await startTraceCollector({ until: new Promise((resolve) => (release = resolve)) });
    const app = await startApp({
      DATABASE_URL: fixture.database.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: hanging.url,
    });
    const SPANS_OF_EACH = 3;
    const [batches, each] = [40, 50];
    for (let batch = 0; batch < batches; batch++) {
      await Promise.all(Array.from({ length: each }, async () => await send('{ me { id } }', {}, { app })));
    }
    release();
    await app.close();
    await hanging.close();
    expect(batches * each * SPANS_OF_EACH).toBeGreaterThan(5_500);
    expect(hanging.spans.length).toBeGreaterThan(4_000);
    expect(hanging.spans.length).toBeLessThan(5_000);
  });

  test('is logged once in a while, without what it was sent', async () => {
    const refusing = await startTraceCollector({ status: 400 });
    const app = await startApp({
      DATABASE_URL: fixture.database.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: refusing.url,
      OTEL_EXPORTER_OTLP_HEADERS: `x-collector-token=${encodeURIComponent(COLLECTOR_TOKEN)}`,
    });
    try {
      for (let exported = 1; exported <= 2; exported++) {
        await send(LIST, { orgId: fixture.orgId }, { app });
        await eventually(() => refusing.requests.length === exported);
      }
    } finally {
      await app.close();
      await refusing.close();
    }
    const lines = app.logs.filter(({ msg }) => msg === 'Could not export traces');
    expect(lines).toMatchObject([{ level: 40, reason: 'Bad Request', code: 400 }]);
    expect(JSON.stringify(app.logs)).not.toContain(COLLECTOR_TOKEN);
  });
});

describe('a traced request', () => {
  test('has a span with the conventional attributes, which is a part of the span of its caller', async () => {
    const { traceId } = await send(LIST, { orgId: fixture.orgId }, { headers: { 'x-request-id': 'mine' } });
    const { request } = await traceOf(traceId);
    expect(request).toMatchObject({ parentSpanId: CALLER_SPAN, kind: SERVER, failed: false });
    expect(request.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/graphql',
      'http.response.status_code': 200,
      'url.path': '/graphql',
      'url.scheme': 'http',
      'graphql.operation.name': 'ListBots',
      'graphql.operation.type': 'query',
      'flovo.request_id': 'mine',
      'flovo.response_cache': 'miss',
    });
    expect(Number(request.endNs - request.startNs)).toBeGreaterThan(100_000);
    expect(Math.abs(Date.now() - Number(request.startNs / 1_000_000n))).toBeLessThan(60_000);
    expect(collector.resource()).toEqual({ 'service.name': 'bots of the tests' });
    expect(collector.requests[0]).toMatchObject({
      path: '/v1/traces',
      headers: { 'x-collector-token': COLLECTOR_TOKEN },
    });
  });

  test('begins a trace of its own without a caller that is traced', async () => {
    const before = new Set(collector.spans);
    for (const header of [undefined, 'nonsense', `00-${'0'.repeat(32)}-${CALLER_SPAN}-01`]) {
      const headers = { 'x-request-id': 'alone', ...(header && { traceparent: header }) };
      await fetch(`${fixture.app.url}?query={__typename}`, { headers });
    }
    const isOne = (span: CollectedSpan) =>
      !before.has(span) && span.attributes['flovo.request_id'] === 'alone';
    await eventually(() => collector.spans.filter(isOne).length === 3);
    const alone = collector.spans.filter(isOne);
    expect(new Set(alone.map(({ traceId }) => traceId)).size).toBe(3);
    for (const { traceId, parentSpanId } of alone) {
      expect(traceId).toMatch(/^(?!0{32})[\da-f]{32}$/);
      expect(parentSpanId).toBeUndefined();
    }
  });

  test('shows the reads of its loaders, and the round trips and statements that they took', async () => {
    // A response from the cache reads nothing, so each request has another key.
    let unused = 0;
    const list = async () => await send(LIST, { orgId: fixture.orgId, unused: (unused += 1) });
    await fixture.admin.flushall();
    const cold = await traceOf((await list()).traceId, 'redis fill');
    await list();
    const warm = await traceOf((await list()).traceId);
    for (const { named, request } of [cold, warm]) {
      for (const [resource, keys] of Object.entries({ botPage: 1, botStats: BOTS, principal: 1 })) {
        const hits = named === warm.named ? keys : 0;
        expect(named(`read ${resource}`)).toMatchObject([
          {
            parentSpanId: request.spanId,
            kind: INTERNAL,
            failed: false,
            attributes: {
              'flovo.resource': resource,
              'flovo.keys': keys,
              'flovo.hits': hits,
              'flovo.misses': keys - hits,
            },
          },
        ]);
      }
    }
    const reads = cold.spans.filter(({ name }) => name.startsWith('read '));
    const ofReads = new Set(reads.map(({ spanId }) => spanId));
    for (const name of ['redis read', 'redis fill', 'sql select']) {
      expect(cold.named(name).length).toBeGreaterThan(0);
      for (const { parentSpanId, kind } of cold.named(name)) {
        expect([...ofReads]).toContain(parentSpanId);
        expect(kind).toBe(CLIENT);
      }
    }
    expect(cold.named('redis read')[0]?.attributes).toEqual({
      'db.system.name': 'redis',
      'db.operation.name': 'read',
    });
    const page = reads.find(({ name }) => name === 'read botPage');
    const [statement] = cold.named('sql select').filter(({ parentSpanId }) => parentSpanId === page?.spanId);
    expect(statement?.attributes).toEqual({
      'db.system.name': 'postgresql',
      'db.query.text': expect.stringMatching(/^select .*\$1/s),
    });
    expect(warm.named('redis read')).toHaveLength(1);
    expect(warm.named('sql select')).toEqual([]);
    for (const { startNs, endNs } of warm.spans) {
      expect(startNs >= warm.request.startNs && endNs <= warm.request.endNs).toBe(true);
    }
  });

  test('shows that the response cache answered it, and the round trip that this took', async () => {
    const { named, request } = await eventually(async () => {
      const found = await traceOf((await send(LIST, { orgId: fixture.orgId })).traceId);
      return found.request.attributes['flovo.response_cache'] === 'hit' && found;
    });
    expect(request.attributes).toMatchObject({ 'graphql.operation.name': 'ListBots' });
    expect(named('redis read')).toMatchObject([{ parentSpanId: request.spanId }]);
    expect(named('read botPage')).toEqual([]);
  });

  test.each([
    ['of a bot', RENAME, { name: 'renamed' }, 'sql update'],
    ['of messages', RECORD, { text: 'hello' }, 'sql insert'],
  ])('shows the statement of a write %s, and the invalidation', async (_, query, variables, statement) => {
    const { traceId } = await send(query, { id: botId, ...variables });
    const { named, request } = await traceOf(traceId);
    expect(request.attributes).toMatchObject({ 'graphql.operation.type': 'mutation' });
    expect(named(statement)).toMatchObject([{ parentSpanId: request.spanId }]);
    expect(named('redis invalidate')).toMatchObject([{ parentSpanId: request.spanId }]);
  });

  test('contains no token, no variable and no text of a message', async () => {
    await send(RECORD, { id: botId, text: SECRET_TEXT });
    await send(LIST, { orgId: fixture.orgId, search: SECRET_TEXT });
    await send(`query Broken($id: ID!) { bot(id: $id) { id } }`, { id: SECRET_TEXT });
    await fetch(`${fixture.app.url}?query=${encodeURIComponent(`{ bot(id: "${SECRET_TEXT}") { id } }`)}`);
    const { traceId } = await send(RENAME, { id: botId, name: SECRET_TEXT });
    await traceOf(traceId);
    const sent = collector.bodies.join('\n');
    expect(sent).toContain(traceId);
    for (const secret of [SECRET_TEXT, 'nobody%20may', fixture.owner.token ?? '', fixture.orgId, botId]) {
      expect(sent).not.toContain(secret);
    }
  });
});

describe('an error', () => {
  test('of a statement is the state of its span, of the read and of the request', async () => {
    const lock = await fixture.database.sql.reserve();
    try {
      await lock`begin`;
      await lock`lock table bots in access exclusive mode`;
      const { traceId } = await send(LIST, { orgId: fixture.orgId, search: 'blocked' });
      const { named, request } = await traceOf(traceId);
      // After an error, graphql-js may execute the operation again.
      const reads = named('read botPage');
      expect(reads.length).toBeGreaterThan(0);
      for (const read of reads) {
        expect(read).toMatchObject({ failed: true, attributes: { 'error.type': 'UNAVAILABLE' } });
        expect(named('sql select').filter(({ parentSpanId }) => parentSpanId === read.spanId)).toMatchObject([
          { failed: true, attributes: { 'error.type': '57014' } },
        ]);
      }
      expect(request).toMatchObject({
        failed: true,
        attributes: { 'error.type': 'UNAVAILABLE', 'flovo.error_codes': ['UNAVAILABLE'] },
      });
    } finally {
      await lock`rollback`;
      lock.release();
    }
  });

  test('of a round trip is the state of its span alone, if the database answers', async () => {
    fixture.redis.freeze();
    try {
      const { traceId } = await send(LIST, { orgId: fixture.orgId });
      const { named, request } = await traceOf(traceId);
      expect(named('redis read')).toMatchObject([
        { failed: true, attributes: { 'error.type': 'CacheUnavailableError' } },
      ]);
      expect(request.failed).toBe(false);
    } finally {
      fixture.redis.thaw();
      await eventually(async () => (await fixture.app.metric('flovo_redis_up')) === 1);
    }
  });

  test('that is a mistake of the client is none of the server', async () => {
    const { traceId } = await send(`query Missing($id: ID!) { bot(id: $id) { id } }`, {
      id: '00000000-0000-4000-8000-000000000000',
    });
    const { request } = await traceOf(traceId);
    expect(request).toMatchObject({ failed: false, attributes: { 'flovo.error_codes': ['NOT_FOUND'] } });
  });
});

test('requests for the health and the metrics of the server are not traced', async () => {
  const traceIds = ['/healthz', '/readyz', '/metrics', '/nothing'].map((path) => ({
    path,
    id: newTraceId(),
  }));
  for (const { path, id } of traceIds) {
    await fetch(new URL(path, fixture.app.url), { headers: { traceparent: traceparent(id) } });
  }
  const [nothing, ...probes] = traceIds.toReversed();
  await eventually(() => spansOf(nothing?.id ?? '').length === 1);
  expect(spansOf(nothing?.id ?? '')).toMatchObject([
    { name: 'GET', attributes: { 'http.response.status_code': 404, 'url.path': '/nothing' } },
  ]);
  expect(probes.flatMap(({ id }) => spansOf(id))).toEqual([]);
});

test('a request whose caller is not sampled exports nothing', async () => {
  const traceId = newTraceId();
  await send(LIST, { orgId: fixture.orgId }, { headers: { traceparent: traceparent(traceId, false) } });
  await traceOf((await send(LIST, { orgId: fixture.orgId })).traceId);
  expect(spansOf(traceId)).toEqual([]);
});

describe('OTEL_TRACES_SAMPLER', () => {
  const cases: [settings: Record<string, string>, sampled: boolean, unsampled: boolean, alone: boolean][] = [
    [{ OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, true, false, false],
    [{ OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0' }, true, false, false],
    [{ OTEL_TRACES_SAMPLER: 'always_on' }, true, true, true],
    [{ OTEL_TRACES_SAMPLER: 'always_off' }, false, false, false],
    [{ OTEL_TRACES_SAMPLER: 'traceidratio' }, true, true, true],
  ];

  test.each(cases)('%j', async (settings, ...expected) => {
    const app = await startApp({
      DATABASE_URL: fixture.database.url,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      ...settings,
    });
    const [sampled, unsampled] = [newTraceId(), newTraceId()];
    const alone = `alone-${unsampled}`;
    await send('{ __typename }', {}, { app, headers: { traceparent: traceparent(sampled) } });
    await send('{ __typename }', {}, { app, headers: { traceparent: traceparent(unsampled, false) } });
    await fetch(`${app.url}?query={__typename}`, { headers: { 'x-request-id': alone } });
    // It exports what is left.
    await app.close();
    const isAlone = ({ attributes }: CollectedSpan) => attributes['flovo.request_id'] === alone;
    expect([
      spansOf(sampled).length > 0,
      spansOf(unsampled).length > 0,
      collector.spans.some(isAlone),
    ]).toEqual(expected);
  });
});

describe('without OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  jest.setTimeout(60_000);

  /** The packages of OpenTelemetry that a server process has loaded after it answered a request. */
  const loadedBy = async (settings: Record<string, string>) => {
    const server = await startServerProcess({
      DATABASE_URL: fixture.database.url,
      REDIS_URL: 'off',
      // Node then lists the CommonJS modules that it loads, as these packages are.
      NODE_DEBUG: 'module',
      ...settings,
    });
    try {
      await server.client(fixture.owner.token).sendText('{ me { id } }');
    } finally {
      await server.end('SIGTERM');
    }
    const packages = server.output.map(
      (line) => /MODULE .*load "?.*node_modules\/@opentelemetry\/([\w-]+)\//.exec(line)?.[1],
    );
    return [...new Set(packages.filter((name) => name !== undefined))];
  };

  test('no package of OpenTelemetry is loaded, except the one that prom-client needs', async () => {
    const headers = 'x-collector-token=unused';
    expect(await loadedBy({ OTEL_EXPORTER_OTLP_HEADERS: headers })).toEqual(['api']);
    expect(await loadedBy({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })).toContain('sdk-trace');
  });
});

describe('settings that are wrong are named without their values:', () => {
  const required = { DATABASE_URL: 'postgres://127.0.0.1/x', REDIS_URL: 'off', JWT_SECRET: SECRET };

  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'grpc://user:hidden@collector', 'must be an http:// or https:// URL'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'hidden', 'must be name=value, comma-separated'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'token=%hidden', 'with percent-encoded values'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'token=%0Ahidden', 'with percent-encoded values'],
    ['OTEL_TRACES_SAMPLER', 'hidden', 'must be one of always_on'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5', 'must be a number from 0 to 1'],
  ])('%s=%s', (name, value, mistake) => {
    const read = () => readConfig({ ...required, [name]: value });
    expect(read).toThrow(`${name} `);
    expect(read).toThrow(mistake);
    expect(read).not.toThrow('hidden');
  });

  test('the path of the endpoint stays, as for a collector behind a gateway', () => {
    const given = { OTEL_EXPORTER_OTLP_ENDPOINT: 'https://gateway.example/otlp/' };
    expect(readConfig({ ...required, ...given }).tracing).toMatchObject({
      url: 'https://gateway.example/otlp/v1/traces',
    });
  });
});
