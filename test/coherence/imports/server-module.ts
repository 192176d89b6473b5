import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Imports a module of the server before it starts: the same instance that the server will use. */
export async function serverModule<Module>(name: string): Promise<Module> {
  return (await import(pathToFileURL(path.resolve('dist', `${name}.js`)).href)) as Module;
}
