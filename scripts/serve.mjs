import { existsSync } from 'node:fs';

import { endWithNpm } from './end-with-npm.mjs';

/** `npm run serve`: the compiled server, with the settings of `.env` where the environment does not have them. */
if (!existsSync('dist/main.js')) {
  console.error('The server is not compiled. Run npm run build first.');
  process.exit(1);
}
try {
  if (existsSync('.env')) process.loadEnvFile('.env');
} catch (error) {
  console.error(`.env cannot be read (${error.code ?? error.message}). Correct it or remove it.`);
  process.exit(1);
}
endWithNpm();
process.setSourceMapsEnabled(true);
await import('../dist/main.js');
