import { defaultTextMapGetter, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, RandomIdGenerator, SamplingDecision } from '@opentelemetry/sdk-trace-base';

import type { TracingConfig } from '../config.js';
import type { Logger } from '../logger.js';
import { withTimeLimit } from '../time-limit.js';
import { describeRequest } from './attributes.js';
import { LoggedExporter } from './logged-exporter.js';
import { RecordedRequestSpan, type Recorder } from './recorded-span.js';
import { samplerOf } from './sampler.js';
import type { Tracing } from './tracing.js';

/** Spans wait for their export, which has a limited size. If more than a maximum wait (about 4 MB), they are dropped. */
const WAITING = { maxQueueSize: 4_096, maxExportBatchSize: 512, scheduledDelayMillis: 1_000 };
/** How long an export may take with its repetitions, and the last one (ms). */
const EXPORT_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 2_000;

/** Records spans with OpenTelemetry, and exports them with OTLP over HTTP. */
export function createTracing(config: TracingConfig, log: Logger): Tracing {
  const { url, headers, serviceName } = config;
  const exporter = new OTLPTraceExporter({ url, headers, timeoutMillis: EXPORT_TIMEOUT_MS });
  const processor = new BatchSpanProcessor(new LoggedExporter(exporter, log), WAITING);
  const sampler = samplerOf(config.sampler, config.ratio);
  const propagator = new W3CTraceContextPropagator();
  const ids = new RandomIdGenerator();
  const recorder: Recorder = {
    resource: resourceFromAttributes({ 'service.name': serviceName }),
    instrumentationScope: { name: 'flovo-bots' },
    newSpanId: () => ids.generateSpanId(),
    onEnd: (span) => processor.onEnd(span),
  };
  return {
    begin(request) {
      const { headers } = request;
      const context =
        headers.traceparent === undefined
          ? ROOT_CONTEXT
          : propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
      const caller = trace.getSpanContext(context);
      const traceId = caller?.traceId ?? ids.generateTraceId();
      const described = describeRequest(request);
      const { name, kind, attributes } = described;
      const { decision, traceState } = sampler.shouldSample(context, traceId, name, kind, attributes, []);
      if (decision !== SamplingDecision.RECORD_AND_SAMPLED) return undefined;
      const epochMs = Date.now() - performance.now();
      const shared = { recorder, traceId, traceState: traceState ?? caller?.traceState, epochMs };
      return new RecordedRequestSpan(shared, caller, described);
    },
    async close() {
      await withTimeLimit(processor.shutdown(), CLOSE_TIMEOUT_MS).catch(() => undefined);
    },
  };
}
