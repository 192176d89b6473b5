import { setTimeout as sleep } from 'node:timers/promises';

import { addOrganization, addUser } from '../../support/people.js';
import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';
import type { CoherenceRun } from '../coherence-run.js';

const CREATE = 'mutation($orgId: ID!) { bot: createBot(input: { orgId: $orgId, name: "raced" }) { id } }';
const ROLES = '{ me { memberships { role } } }';
const REQUESTS_A_ROUND = 12;

/** An editor is demoted while they create bots: no request sent after the demotion may create one. */
export const editorsDemoted: Fault = {
  name: 'editors demoted while they create bots',
  about: 'by SQL, between concurrent createBot of several servers',
  tolerance: WITHIN_TWO_SECONDS,
  async act(run, span) {
    const { sql, history } = run;
    // A separate organization: it gets more bots than fit on a page, and the readers expect all on one.
    const orgId = await addOrganization(sql, 'Raced');
    const counts = { created: 0, refused: 0 };
    do {
      const { id, token } = await addUser(sql, { [orgId]: 'EDITOR' });
      await create(run, token, orgId);
      let demotedAt = Infinity;
      const demotion = sleep(between(0, 40)).then(async () => {
        await sql`update memberships set role = 'VIEWER' where user_id = ${id}`;
        demotedAt = performance.now();
      });
      const requests = Array.from({ length: REQUESTS_A_ROUND }, async () => {
        await sleep(between(0, 80));
        const from = performance.now();
        const isCreated = await create(run, token, orgId);
        counts[isCreated ? 'created' : 'refused'] += 1;
        history.findings.count('access');
        if (isCreated && from > demotedAt) history.findings.fail('a VIEWER has created a bot');
        if (!isCreated) await checkRole(run, token);
      });
      await Promise.all([demotion, ...requests]);
    } while (!span.isOver);
    history.findings.notes.push(`${counts.created} created, ${counts.refused} refused`);
  },
};

/** Returns whether the bot was created. */
async function create({ fleet, history }: CoherenceRun, token: string, orgId: string): Promise<boolean> {
  const { data, errors } = await fleet.any.process
    .client(token)
    .sendText<{ bot: unknown }>(CREATE, { orgId });
  const code = errors?.[0]?.extensions.code;
  if (code !== undefined && code !== 'FORBIDDEN') history.findings.fail(`createBot: ${code}`);
  return data?.bot != null;
}

/** After one server refused a VIEWER, every server must show that role. */
async function checkRole({ fleet, history }: CoherenceRun, token: string): Promise<void> {
  interface Answer {
    readonly me: { readonly memberships: readonly { readonly role: string }[] };
  }
  const server = fleet.any;
  const { data } = await server.process.client(token).sendText<Answer>(ROLES);
  const role = data?.me.memberships[0]?.role;
  if (role !== 'VIEWER') history.findings.fail(`${server.name} says ${role} after a VIEWER was refused`);
}
