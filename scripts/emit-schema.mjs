import 'reflect-metadata';

import { mkdir, writeFile } from 'node:fs/promises';
import { printSchema } from 'graphql';

import { buildGraphQLSchema } from '../dist/schema.js';

/** `npm run schema`: writes `schema/schema.graphql` (or the file given) from the resolvers that were built. */
const file = process.argv[2] ?? 'schema/schema.graphql';
await mkdir('schema', { recursive: true });
await writeFile(file, `${printSchema(await buildGraphQLSchema([]))}\n`);
