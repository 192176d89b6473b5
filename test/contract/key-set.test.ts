import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { exportJWK, generateKeyPair, jwtVerify, SignJWT, type JWK } from 'jose';

import { KeySet } from '../../src/auth/key-set.js';

/** The keys of a provider over time: a minute passes at once. */
describe('the keys of an identity provider', () => {
  let server: Server;
  let url: string;
  let pairs: Awaited<ReturnType<typeof generateKeyPair>>[];
  let published: JWK[] = [];
  let status = 200;
  let fetches = 0;
  let now = 0;
  let keys: KeySet;

  beforeAll(async () => {
    pairs = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
    server = createServer((_request, response) => {
      fetches += 1;
      response.writeHead(status).end(JSON.stringify({ keys: published }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });

  afterAll(() => {
    server?.close();
    server?.closeAllConnections();
  });

  beforeEach(async () => {
    [now, status, fetches] = [0, 200, 0];
    await publish(0);
    keys = new KeySet(
      url,
      () => {},
      () => now,
    );
  });

  const publish = async (...numbers: number[]) => {
    published = await Promise.all(
      numbers.map(async (n) => ({
        ...(await exportJWK(pairs[n]?.publicKey as never)),
        kid: String(n),
        alg: 'ES256',
      })),
    );
  };
  /** 'accepted', or the code of the error. */
  const outcome = async (n: number): Promise<string> => {
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'ES256', kid: String(n) })
      .sign(pairs[n]?.privateKey as never);
    try {
      await jwtVerify(token, async (header, input) => await keys.keyOf(header, input));
      return 'accepted';
    } catch (error) {
      const { code, extensions } = error as { code?: string; extensions?: { code: string } };
      return extensions?.code ?? code ?? String(error);
    }
  };
  const pass = (seconds: number) => {
    now += seconds * 1_000;
  };

  test('stop counting within half a minute after they were withdrawn', async () => {
    expect(await outcome(0)).toBe('accepted');
    await publish(1);
    pass(30);
    expect([await outcome(0), await outcome(1)]).toEqual(['ERR_JWKS_NO_MATCHING_KEY', 'accepted']);
  });

  test('count within seconds after they were added', async () => {
    expect(await outcome(0)).toBe('accepted');
    await publish(0, 1);
    pass(5);
    expect([await outcome(1), fetches]).toEqual(['accepted', 2]);
  });

  test('are not fetched for each token with an unknown key', async () => {
    for (let n = 0; n < 20; n++) {
      expect(await outcome(1)).toBe('ERR_JWKS_NO_MATCHING_KEY');
      pass(1);
    }
    expect(fetches).toBeLessThanOrEqual(5);
  });

  test('go on counting for ten minutes while the endpoint fails, which is asked seldom', async () => {
    expect(await outcome(0)).toBe('accepted');
    status = 500;
    for (let n = 0; n < 590; n++) {
      pass(1);
      expect(await outcome(0)).toBe('accepted');
    }
    expect(fetches).toBeLessThan(40);
    pass(20);
    expect(await outcome(0)).toBe('UNAVAILABLE');
    status = 200;
    pass(30);
    expect(await outcome(0)).toBe('accepted');
  });
});
