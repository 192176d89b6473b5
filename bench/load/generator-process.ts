import { fork, type ChildProcess } from 'node:child_process';
import path from 'node:path';

import type { Tasks } from './tasks.js';

/** The load generator, as used by the harness. */
export class Generator {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(path.join(process.cwd(), 'dist-bench/bench/load/generator.js'), {
      serialization: 'advanced',
    });
  }

  /** Runs a task until it ends, one task at a time. @throws Error if the task fails */
  async run<Kind extends keyof Tasks>(kind: Kind, task: Tasks[Kind]['task']): Promise<Tasks[Kind]['result']> {
    return await new Promise((resolve, reject) => {
      this.child.once('message', (message: { result?: Tasks[Kind]['result']; failure?: string }) => {
        if (message.failure === undefined) resolve(message.result as Tasks[Kind]['result']);
        else reject(new Error(`The load generator failed: ${message.failure}`));
      });
      this.child.send({ kind, task });
    });
  }

  stop(): void {
    this.child.disconnect();
  }
}
