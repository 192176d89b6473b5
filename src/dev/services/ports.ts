import { createServer } from 'node:net';

/**
 * A TCP port of 127.0.0.1 that is free now and lies below `limit`, chosen by the operating system.
 *
 * Another process may take it before its user does, so whoever binds it must be ready to ask for another one.
 *
 * @throws if the operating system hands out no such port (for instance: no permission to listen at all)
 */
export async function freePort(limit = 65_536): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = await ephemeralPort();
    if (port < limit) return port;
  }
  throw new Error(`The operating system offered no free port below ${limit} on 127.0.0.1.`);
}

function ephemeralPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('The operating system gave no port for a listener on 127.0.0.1.'));
      });
    });
  });
}
