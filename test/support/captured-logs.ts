import { Writable } from 'node:stream';
import { pino, type Logger } from 'pino';

/** A logger, and the lines that it has written so far. */
export function captureLogs(level = 'info'): {
  readonly log: Logger;
  readonly logs: Record<string, unknown>[];
} {
  const logs: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logs.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  return { log: pino({ level }, destination), logs };
}
