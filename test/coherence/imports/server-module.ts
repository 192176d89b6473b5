import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Loads a module of the server that is about to start: the very one that the server will use. */
export async function serverModule<Module>(name: string): Promise<Module> {
  return (await import(pathToFileURL(path.resolve('dist', `${name}.js`)).href)) as Module;
}
