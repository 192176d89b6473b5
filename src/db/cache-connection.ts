import type { OpenConnection } from '../cache/postgres/connection.js';
import { openDriver } from './driver.js';

/** Opens the cache's connections with the server's driver. @param url of the database */
export const cacheConnection =
  (url: string): OpenConnection =>
  (options) =>
    openDriver(url, options);
