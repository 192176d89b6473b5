import { connect } from 'node:net';

/**
 * Sends one command to the Redis server on a port of 127.0.0.1, over a connection of its own.
 *
 * @returns the reply's text; for an error reply its text with a leading `-`
 * @throws if there is no whole reply within `timeoutMs` milliseconds, or it is an array
 */
export function askRedis(port: number, words: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    const timer = setTimeout(() => socket.destroy(new Error('The Redis server did not answer.')), timeoutMs);
    let received = '';
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('The Redis server closed the connection.'));
    });
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk;
      try {
        const reply = parseReply(received);
        if (reply === undefined) return;
        resolve(reply);
        socket.destroy();
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.write(
      `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`,
    );
  });
}

function parseReply(text: string): string | undefined {
  const end = text.indexOf('\r\n');
  if (end < 0) return undefined;
  const line = text.slice(1, end);
  switch (text[0]) {
    case '+':
    case ':':
      return line;
    case '-':
      return `-${line}`;
    case '$': {
      const length = Number(line);
      const body = text.slice(end + 2, end + 2 + length);
      return body.length < length ? undefined : body;
    }
    case undefined:
    default:
      throw new Error(`Not a reply of a Redis server: ${text.slice(0, 40)}`);
  }
}
