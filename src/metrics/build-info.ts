import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import type { Families } from './families.js';

/** Adds a metric that says what runs: its value is always 1. */
export function buildInfo(families: Families): void {
  const version = versionIn(path.dirname(fileURLToPath(import.meta.url)));
  families
    .gauge('flovo_build_info', 'The version of this server and of Node.js', ['version', 'node'])
    .set({ version, node: process.versions.node }, 1);
}

/** The version in the `package.json` of this folder, or else of the nearest one above it. */
function versionIn(folder: string): string {
  const file = path.join(folder, 'package.json');
  if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
  const parent = path.dirname(folder);
  return parent === folder ? 'unknown' : versionIn(parent);
}
