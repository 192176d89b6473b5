import 'reflect-metadata';

import { processEnvironment, readOperatorConfig } from './config.js';
import { openDriver } from './db/driver.js';
import { sqlState } from './db/failures.js';
import { OperatorError } from './operator/accounts.js';
import { parseCommand, USAGE } from './operator/commands.js';
import { databaseProblem, endWith, StartError } from './start-failure.js';

/**
 * `npm run admin -- COMMAND …`: the operator's commands, which the API does not have. They write only to the
 * database; running servers see the change through the invalidation log.
 */
async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help') || args[0] === 'help') {
    console.log(USAGE);
    return;
  }
  const command = parseCommand(args);
  const { databaseUrl, auth } = readOperatorConfig(processEnvironment());
  const sql = openDriver(databaseUrl, { max: 1, connect_timeout: 10 });
  try {
    for (const line of await command(sql, auth)) console.log(line);
  } catch (error) {
    throw explained(error);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const UNDEFINED_OBJECTS: ReadonlySet<string> = new Set(['42P01', '42703', '42883']);

function explained(error: unknown): unknown {
  if (UNDEFINED_OBJECTS.has(sqlState(error) ?? '')) {
    return new StartError('The database is not migrated: run node dist/migrate.js first.', { cause: error });
  }
  return databaseProblem(error) ?? error;
}

main(process.argv.slice(2)).catch((error: unknown) =>
  endWith(error instanceof OperatorError ? new StartError(error.message, { cause: error }) : error),
);
