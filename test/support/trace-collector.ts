import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as OTLP's JSON has it, with its attributes as an object. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** 1: internal, 2: server, 3: client. */
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
}

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly arrayValue?: { readonly values: readonly OtlpValue[] };
}

interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code: number };
  readonly attributes: readonly OtlpAttribute[];
}

interface OtlpExport {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** Receives traces by OTLP over HTTP, in JSON. */
export interface TraceCollector {
  readonly url: string;
  readonly spans: CollectedSpan[];
  /** The bodies of the exports, as they were sent. */
  readonly bodies: string[];
  /** The paths and the headers of the exports. */
  readonly requests: { readonly path: string | undefined; readonly headers: IncomingHttpHeaders }[];
  /** The attributes of the process that sent the last export. */
  resource(): Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

/**
 * @param status of the answer to an export
 * @param until when exports are answered
 */
export async function startTraceCollector({
  status = 200,
  until = Promise.resolve(),
}: { readonly status?: number; readonly until?: Promise<void> } = {}): Promise<TraceCollector> {
  const spans: CollectedSpan[] = [];
  const bodies: string[] = [];
  const requests: { path: string | undefined; headers: IncomingHttpHeaders }[] = [];
  let resource = {};
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      requests.push({ path: request.url, headers: request.headers });
      bodies.push(body);
      for (const sent of (JSON.parse(body) as OtlpExport).resourceSpans) {
        resource = attributesOf(sent.resource.attributes);
        spans.push(...sent.scopeSpans.flatMap((scope) => scope.spans.map(toCollected)));
      }
      void until.then(() => response.writeHead(status, { 'content-type': 'application/json' }).end('{}'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    requests,
    resource: () => resource,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

const toCollected = (span: OtlpSpan): CollectedSpan => ({
  traceId: span.traceId,
  spanId: span.spanId,
  parentSpanId: span.parentSpanId,
  name: span.name,
  kind: span.kind,
  startNs: BigInt(span.startTimeUnixNano),
  endNs: BigInt(span.endTimeUnixNano),
  failed: span.status.code === 2,
  attributes: attributesOf(span.attributes),
});

const attributesOf = (attributes: readonly OtlpAttribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]));

const valueOf = ({ stringValue, intValue, arrayValue }: OtlpValue): unknown =>
  arrayValue ? arrayValue.values.map(valueOf) : (stringValue ?? intValue);
