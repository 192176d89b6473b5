import { processEnvironment } from '../config.js';
import { openDriver } from '../db/driver.js';
import { bringUpDatabase, developmentSecret } from './development-services.js';
import { signToken } from '../auth/sign-token.js';

/** `npm run --silent token -- EMAIL`: prints a signed token for that user, and nothing else. Development only. */
async function main(): Promise<void> {
  const environment = processEnvironment();
  const email = process.argv[2];
  if (environment.NODE_ENV === 'production') throw new Error('Tokens are signed here in development only.');
  if (environment.JWKS_URL !== undefined) throw new Error('With JWKS_URL, tokens come from its issuer.');
  if (email === undefined) throw new Error('Usage: npm run --silent token -- EMAIL');
  const secret = await developmentSecret(environment);
  const database = await bringUpDatabase(environment, console.error);
  try {
    const sql = openDriver(database.url, { max: 1 });
    const users = sql<{ id: string }[]>`select id from users where lower(email) = lower(${email})`;
    const [user] = await users.finally(async () => await sql.end());
    if (!user) throw new Error(`There is no user with the email ${email}.`);
    const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWT_USER_CLAIM: userClaim } = environment;
    console.log(await signToken(secret, user.id, { issuer, audience, userClaim }));
  } finally {
    if (!database.reused) await database.stop();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
