import type { OpenConnection } from '../cache/postgres/connection.js';
import { openDriver } from './driver.js';

/** Lets the cache connect as the server does. @param url where the database is. */
export const cacheConnection =
  (url: string): OpenConnection =>
  (options) =>
    openDriver(url, options);
