import path from 'node:path';
import { pathToFileURL } from 'node:url';

type Script = () => Promise<void>;

const support = async (name: string): Promise<Script> => {
  const url = pathToFileURL(path.resolve('test/support', `${name}.mjs`)).href;
  return ((await import(url)) as { default: Script }).default;
};

/** Starts the services that all runs share, as the tests do; the returned function stops them. */
export async function bringUpServices(): Promise<Script> {
  const [setUp, tearDown] = [await support('global-setup'), await support('global-teardown')];
  try {
    await setUp();
  } catch (error) {
    await tearDown();
    throw error;
  }
  return tearDown;
}
