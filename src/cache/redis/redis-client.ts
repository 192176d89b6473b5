import { isIP } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  type ConnectionOptions,
  type PeerCertificate,
} from 'node:tls';

import { Cluster, Redis } from 'ioredis';

import { isSplit } from './moving-slots.js';

export type RedisClient = Redis | Cluster;

/** Describes why a connection failed: a cluster's client only says that it reached no node. */
export function describeConnectionError(error: Error, nodeFailure?: string): string {
  const { lastNodeError } = error as Error & { lastNodeError?: Error };
  const cause = lastNodeError && (nodeFailure ?? lastNodeError.message);
  const message = error.message || error.name;
  return cause === undefined ? message : `${message} (${cause})`;
}

/** The address of Redis: a URL, or the nodes of a Redis Cluster. */
export type RedisTarget =
  | { readonly kind: 'standalone'; readonly url: string }
  | {
      readonly kind: 'sentinel';
      readonly url: string;
      /** The login of the Sentinels themselves. */
      readonly login?: { readonly username?: string | undefined; readonly password?: string | undefined };
    }
  | { readonly kind: 'cluster'; readonly nodes: readonly string[]; readonly url?: string | undefined };

const MAX_RECONNECT_PAUSE_MS = 500;

const reconnectPause = (attempt: number): number =>
  Math.min(25 * 2 ** Math.min(attempt, 5), MAX_RECONNECT_PAUSE_MS) * (0.5 + Math.random() / 2);

/**
 * Options of the cache's client: it queues nothing while disconnected and sends nothing twice, so a command runs
 * close to the time of its call or not at all.
 */
const cacheOptions = {
  enableOfflineQueue: false,
  enableAutoPipelining: true,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  connectTimeout: 1_000,
  lazyConnect: true,
  keepAlive: 5_000,
  noDelay: true,
};

function credentials(url: URL): { username?: string; password?: string } {
  return {
    ...(url.username ? { username: decodeURIComponent(url.username) } : {}),
    ...(url.password ? { password: decodeURIComponent(url.password) } : {}),
  };
}

/**
 * TLS options for servers that other servers announce. They are announced by IP address, which their certificates
 * often do not name. A certificate is also valid if it names a host that the operator configured.
 */
const tlsTo = (hosts: readonly string[]): ConnectionOptions => ({
  checkServerIdentity(host: string, certificate: PeerCertificate) {
    const mistake = checkServerIdentity(host, certificate);
    if (!mistake || hosts.some((name) => !checkServerIdentity(name, certificate))) return undefined;
    return mistake;
  },
});

/**
 * A cluster's client does not report why it could not ask any node for the slots. This function finds out over a
 * connection of its own, once until the client is ready again.
 */
function explainFailures(client: Cluster, host: string, port: number, tls: ConnectionOptions): void {
  let hasAsked = false;
  client.on('ready', () => {
    hasAsked = false;
  });
  client.on('error', () => {
    if (hasAsked) return;
    hasAsked = true;
    const socket = connectTls({
      host,
      port,
      timeout: cacheOptions.connectTimeout,
      ...tls,
      ...serverName(host),
    });
    socket.on('error', (error) => client.emit('node error', error, `${host}:${port}`));
    socket.on('secureConnect', () => socket.destroy());
    socket.on('timeout', () => socket.destroy());
  });
}

/** The server name of the TLS greeting: some servers have many names on one address. An IP address is not sent. */
const serverName = (host: string): { servername?: string } => (isIP(host) === 0 ? { servername: host } : {});

/**
 * Makes the client and starts to connect. It does not throw if Redis is down.
 *
 * A Sentinel URL is `redis+sentinel://[user:password@]host:port[,host:port…]/master-name[/db]`, where user and
 * password are those of the master; with `rediss+sentinel` the connections to Sentinels and masters use TLS.
 */
export function connectRedis(target: RedisTarget): RedisClient {
  const client = createClient(target);
  // Failures reach the circuit breaker through the client's events.
  client.connect().catch(() => undefined);
  return client;
}

class ClusterClient extends Cluster {
  private gathering = false;

  /**
   * Commands of one turn of the event loop are sent together, in one packet for each node, but redirected one by one.
   */
  override sendCommand(...args: Parameters<Cluster['sendCommand']>): unknown {
    this.gather();
    return super.sendCommand(...args);
  }

  /**
   * While a slot moves, Redis refuses a command if one of its keys exists on neither node. Do not wait until the slot
   * has moved, as the client would: the call would time out.
   */
  override handleError(...[error, ttl, handlers]: Parameters<Cluster['handleError']>): void {
    if (isSplit(error)) handlers.defaults();
    else super.handleError(error, ttl, handlers);
  }

  private gather(): void {
    if (this.gathering) return;
    this.gathering = true;
    const streams = this.nodes('master').flatMap(({ status, stream }) =>
      status === 'ready' ? [stream] : [],
    );
    for (const stream of streams) stream.cork();
    setImmediate(() => {
      this.gathering = false;
      for (const stream of streams) stream.uncork();
    });
  }
}

function createClient(target: RedisTarget): RedisClient {
  switch (target.kind) {
    case 'standalone':
      return new Redis(target.url, {
        ...cacheOptions,
        retryStrategy: reconnectPause,
        reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
        ...(target.url.startsWith('rediss:')
          ? { tls: serverName(new URL(target.url).hostname.replaceAll(/[[\]]/g, '')) }
          : {}),
      });
    case 'sentinel': {
      const [, secure, authority = '', path = ''] =
        /^redis(s?)\+sentinel:\/\/([^/]+)\/?(.*)$/.exec(target.url) ?? [];
      const at = authority.lastIndexOf('@');
      const [name = 'mymaster', db] = path.split('/');
      const login = credentials(new URL(`redis://${at < 0 ? '' : authority.slice(0, at + 1)}host`));
      const sentinels = authority
        .slice(at + 1)
        .split(',')
        .map((node) => hostAndPort(node, 26_379));
      const tls = tlsTo(sentinels.map(({ host }) => host));
      const { username, password } = target.login ?? {};
      return new Redis({
        ...cacheOptions,
        ...login,
        name,
        db: Number(db ?? 0),
        sentinels,
        ...(username === undefined ? {} : { sentinelUsername: username }),
        ...(password === undefined ? {} : { sentinelPassword: password }),
        ...(secure === 's' ? { tls, sentinelTLS: tls, enableTLSForSentinelMode: true } : {}),
        sentinelRetryStrategy: reconnectPause,
        retryStrategy: reconnectPause,
        failoverDetector: true,
        reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
      });
    }
    case 'cluster': {
      const nodes = target.nodes.map((node) => hostAndPort(node, 6_379));
      const url = target.url === undefined ? undefined : new URL(target.url);
      const secure = url?.protocol === 'rediss:';
      const tls = tlsTo(nodes.map(({ host }) => host));
      const client = new ClusterClient(nodes, {
        enableOfflineQueue: false,
        // A pipeline is redirected as a whole, although its commands are for many slots. While slots moved, commands
        // were refused because of each other, and some pipelines never ended, which blocked their nodes for good.
        enableAutoPipelining: false,
        lazyConnect: true,
        clusterRetryStrategy: reconnectPause,
        slotsRefreshTimeout: 1_000,
        // The client reads the slots again after a redirection, after a lost connection, and when the circuit breaker
        // replaces the connections. The client's own timer would survive a disconnect during one of its rounds.
        slotsRefreshInterval: 0,
        // A command whose connection was lost may have run. If it were sent again, a replacement would restore a
        // generation that was invalidated since, and an older fill would count as current.
        retryDelayOnFailover: 0,
        retryDelayOnClusterDown: 50,
        maxRedirections: 4,
        redisOptions: {
          ...cacheOptions,
          // With it, the client would send ASKING after the command that needs it.
          enableAutoPipelining: false,
          ...(url === undefined ? {} : credentials(url)),
          ...(secure ? { tls } : {}),
        },
        // Certificates contain names, so the client must connect by name and not by address.
        ...(secure ? { dnsLookup: (address, callback) => callback(null, address) } : {}),
      });
      // The client emits this event before it connects to a node.
      client.on('+node', ({ options }: Redis) => {
        if (options.tls) options.tls = { ...options.tls, ...serverName(options.host ?? '') };
      });
      const [first] = nodes;
      if (secure && first) explainFailures(client, first.host, first.port, tls);
      return client;
    }
  }
}

function hostAndPort(node: string, defaultPort: number): { host: string; port: number } {
  const colon = node.lastIndexOf(':');
  if (colon < 0) return { host: node, port: defaultPort };
  return { host: node.slice(0, colon), port: Number(node.slice(colon + 1)) };
}
