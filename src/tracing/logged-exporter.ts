import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base';

import type { Logger } from '../logger.js';

/** How long further failures are not logged (ms). */
const LOG_PAUSE_MS = 60_000;

/** Logs the failures of an exporter, once in a while. */
export class LoggedExporter implements SpanExporter {
  private loggedAt = -Infinity;

  constructor(
    private readonly exporter: SpanExporter,
    private readonly log: Logger,
  ) {}

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.exporter.export(spans, (result) => {
      if (result.error) this.failed(result.error, spans.length);
      done(result);
    });
  }

  async forceFlush(): Promise<void> {
    await this.exporter.forceFlush?.();
  }

  async shutdown(): Promise<void> {
    await this.exporter.shutdown();
  }

  /** The message leaves out what the collector has answered, which may repeat what was sent. */
  private failed({ name, message, ...error }: Error & { code?: unknown }, spans: number): void {
    const now = performance.now();
    if (now - this.loggedAt < LOG_PAUSE_MS) return;
    this.loggedAt = now;
    this.log.warn({ spans, reason: message || name, code: error.code }, 'Could not export traces');
  }
}
