import { readFileSync } from 'node:fs';

/** Settings that contain a secret. Each may be given as a file, as containers provide secrets: `JWT_SECRET_FILE`. */
const SECRETS = [
  'DATABASE_URL',
  'REDIS_URL',
  'REDIS_SENTINEL_PASSWORD',
  'JWT_SECRET',
  'JWT_SECRET_PREVIOUS',
  'OPERATOR_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
] as const;

type Variables = Record<string, string | undefined>;

/** The maximum length of a secret, in characters: a larger file is probably the wrong path. */
const MAX_SECRET_CHARACTERS = 65_536;

/**
 * Replaces the `…_FILE` variables by the contents of their files, without a newline at the end.
 * @returns the variables, of which unusable ones are unchanged; and the mistakes, which never repeat the content of a
 * file
 */
export function readSecretFiles<Given extends Variables>(
  given: Given,
): { variables: Given; mistakes: [name: string, mistake: string][] } {
  const variables: Variables = { ...given };
  const mistakes: [string, string][] = [];
  for (const secret of SECRETS) {
    const name = `${secret}_FILE`;
    const path = given[name];
    if (path === undefined || path === '') continue;
    if (given[secret] !== undefined) {
      mistakes.push([name, `cannot be given together with ${secret}`]);
      continue;
    }
    const content = contentOf(path);
    if ('mistake' in content) {
      mistakes.push([name, content.mistake]);
      continue;
    }
    variables[secret] = content.text;
    delete variables[name];
  }
  return { variables: variables as Given, mistakes };
}

function contentOf(path: string): { text: string } | { mistake: string } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    return {
      mistake: `names a file that cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    };
  }
  if (text === '') return { mistake: 'names an empty file' };
  if (text.length > MAX_SECRET_CHARACTERS) return { mistake: 'names a file that is too long for a secret' };
  return { text };
}
