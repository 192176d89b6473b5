import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { Client } from './client.js';

import { SECRET } from './people.js';

export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly output: string[];
  client(token: string | undefined): Client;
  /** Sends a signal and waits for the exit. Returns the exit code, null after a deadly signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Runs the compiled server as production does (`npm run serve`), on a free port. */
export async function startServerProcess(
  settings: Record<string, string> & { DATABASE_URL: string },
  entry = path.join(process.cwd(), 'dist/main.js'),
): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--enable-source-maps', entry], {
    cwd: process.cwd(),
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      NODE_ENV: 'production',
      JWT_SECRET: SECRET,
      WARM_ON_START: 'off',
      // A test sends more than a caller may.
      RATE_LIMIT_PER_SECOND: '0',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line);
        const [, served] = /"url":"([^"]+)".*"msg":"Serving"/.exec(line) ?? [];
        if (served !== undefined) resolve(served);
      });
    }
    exited.then(
      ([code]) => reject(new Error(`The server ended with ${code}:\n${output.join('\n')}`)),
      reject,
    );
  });
  return {
    url,
    pid: child.pid ?? -1,
    child,
    output,
    client: (token) => new Client(url, token),
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [code] = await exited;
      return code;
    },
  };
}
