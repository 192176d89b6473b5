interface LogMethod {
  (fields: object, message: string): void;
  (message: string): void;
}

/** The logger of the cache: pino, or any object with these methods. */
export interface Logger {
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
}

const ignore = (): void => {};

export const SILENT_LOGGER: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
