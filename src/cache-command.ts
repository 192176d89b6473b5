import 'reflect-metadata';

import { processEnvironment, readCacheToolsConfig } from './config.js';
import { OperatorError } from './operator/accounts.js';
import { CACHE_USAGE, parseCacheCommand } from './operator/cache-commands.js';
import { openCacheTools } from './operator/cache-tools.js';
import { databaseProblem, endWith, StartError } from './start-failure.js';

/** `npm run cache -- COMMAND …`: the operator's commands for the cache. */
async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args[0] === 'help') {
    console.log(CACHE_USAGE);
    return;
  }
  const command = parseCacheCommand(args);
  const tools = await openCacheTools(readCacheToolsConfig(processEnvironment()));
  try {
    const { lines, isBad } = await command(tools);
    for (const line of lines) console.log(line);
    if (isBad) process.exitCode = 1;
  } finally {
    await tools.close();
  }
}

main(process.argv.slice(2)).catch((error: unknown) =>
  endWith(
    error instanceof OperatorError
      ? new StartError(error.message, { cause: error })
      : (databaseProblem(error) ?? error),
  ),
);
