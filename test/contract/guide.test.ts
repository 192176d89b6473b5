import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';

const GUIDE = 'docs/adding-a-cached-field.md';

/** A block of code in a document, and the source file that it names. */
interface Block {
  readonly language: string;
  readonly file: string;
  readonly code: string;
}

const blocksOf = (text: string): Block[] =>
  [...text.matchAll(/^```(\w+) ?(\S*)\n(.*?)^```$/gms)].map(([, language = '', file = '', code = '']) => ({
    language,
    file,
    code,
  }));

/** Lines without their indentation, which differs in a document. */
const linesOf = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .join('\n')
    .trim();

const guide = await readFile(GUIDE, 'utf8');
const blocks = blocksOf(guide);

describe('the guide to a cached field', () => {
  test('names the source file of every block of code', () => {
    expect(blocks.length).toBeGreaterThan(5);
    expect(blocks.filter(({ file }) => file === '')).toEqual([]);
    expect(guide.match(/^```/gm)).toHaveLength(2 * blocks.length);
  });

  test.each(blocks.map((block) => [block.file, block] as const))(
    'shows the current code of %s',
    async (file, { code }) => {
      expect(linesOf(await readFile(file, 'utf8'))).toContain(linesOf(code));
    },
  );

  test('names files and settings that exist', async () => {
    const files = [...guide.matchAll(/`((?:src|test|drizzle|docs)\/[\w./-]+\.\w+)`/g)].map(
      ([, file = '']) => file,
    );
    expect(files.length).toBeGreaterThan(8);
    for (const file of files) await expect(readFile(file, 'utf8')).resolves.toBeDefined();
    const settings = new Set(guide.match(/CACHE_TTL_\w+/g));
    const rules = await readFile('src/settings.ts', 'utf8');
    for (const setting of settings) expect(rules).toContain(setting);
  });

  test('takes no more than 25 lines in three places, beside the fields of the type', async () => {
    const places = blocks.slice(0, 4);
    const fields = /^(id|bots|runningBots|totalMessages|failedMessages|lastMessageAt|computedAt):/;
    const lines = places
      .flatMap(({ code }) => linesOf(code).split('\n'))
      .filter((line) => !fields.test(line));
    expect(new Set(places.map(({ file }) => file)).size).toBe(3);
    expect(lines.length).toBeLessThanOrEqual(25);
  });
});
