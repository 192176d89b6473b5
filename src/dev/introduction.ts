import { DEMO } from './demo-data.js';

export const FIRST_QUERY = `query FirstBots {
  bots(orgId: "${DEMO.acme}", limit: 3) {
    total
    items {
      name
      status
      stats {
        totalMessages
        successRate
      }
    }
  }
}
`;

/** The text that the development server prints once it is ready. */
export function introduction(at: {
  url: string;
  token: string;
  databaseUrl: string;
  redisUrl: string | undefined;
}): string {
  const query = FIRST_QUERY.replace(/\s+/g, ' ').trim();
  return `
  GraphQL and playground   ${at.url}
  Console of the cache     ${new URL('/console', at.url).href}
  PostgreSQL               ${at.databaseUrl}
  Redis                    ${at.redisUrl ?? 'as configured'}

  A token for ${DEMO.owner.email} (for another user: npm run --silent token -- EMAIL)

${at.token}

  A first query:

curl -s ${at.url} -H 'content-type: application/json' \\
  -H 'authorization: Bearer ${at.token}' \\
  -d '${JSON.stringify({ query })}'

  Stop with Ctrl-C.`;
}
