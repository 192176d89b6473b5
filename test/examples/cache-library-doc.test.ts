import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from '@jest/globals';

const DOCUMENT = 'docs/cache-library.md';
const SOURCES = 'examples/any-server/src';

/** Lines without indentation, so that a block may stand for a part of a function. */
const flat = (text: string): string =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim())
    .join('\n');

test("the page about the cache shows the example's code", async () => {
  const names = (await readdir(SOURCES)).filter((name) => name.endsWith('.ts'));
  const sources = await Promise.all(
    names.map(async (name) => flat(await readFile(path.join(SOURCES, name), 'utf8'))),
  );
  const document = await readFile(DOCUMENT, 'utf8');
  const blocks = [...document.matchAll(/^```(?:ts|sql)\n([\s\S]*?)^```$/gm)].map(([, code = '']) =>
    flat(code),
  );
  expect(blocks.length).toBeGreaterThan(8);
  expect(blocks.filter((block) => !sources.some((source) => source.includes(block)))).toEqual([]);
});

test('the page names every function of the library', async () => {
  const document = await readFile(DOCUMENT, 'utf8');
  const library = (await import('../../src/cache/index.js')) as Record<string, unknown>;
  expect(Object.keys(library).filter((name) => !document.includes(name))).toEqual([]);
});
