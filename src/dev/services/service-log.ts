import { closeSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';

const MAX_BYTES = 16 * 1024 * 1024;
const TAIL_BYTES = 16 * 1024;

/** The file that a service writes its output to, open for appending. */
export interface ServiceLog {
  readonly file: string;
  readonly fd: number;
  /** The last lines written since the file was opened or marked. */
  readonly tail: () => string;
  /** Lets `tail` forget what has been written so far, as before another attempt to start the service. */
  readonly mark: () => void;
  /** Closes our handle; a service that was given it goes on writing. */
  readonly close: () => void;
}

/**
 * Opens a service's log, which only its owner can read, and empties it when it has grown past 16 MiB.
 *
 * @throws if the file cannot be written
 */
export function openServiceLog(file: string): ServiceLog {
  const fd = openSync(file, 'a+', 0o600);
  if (fstatSync(fd).size > MAX_BYTES) ftruncateSync(fd);
  let start = fstatSync(fd).size;
  return {
    file,
    fd,
    tail() {
      const end = fstatSync(fd).size;
      const from = Math.max(start, end - TAIL_BYTES);
      const buffer = Buffer.alloc(Math.max(0, end - from));
      const length = readSync(fd, buffer, 0, buffer.length, from);
      const text = buffer.toString('utf8', 0, length).trimEnd();
      return text === '' ? `(nothing in ${file})` : text.split('\n').slice(-15).join('\n');
    },
    mark() {
      start = fstatSync(fd).size;
    },
    close() {
      closeSync(fd);
    },
  };
}
