import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Finds folders that import each other, be it types only, directly or by way of others. A file directly in `root` counts as
 * a folder of its own. Returns each cycle with the imports that close it.
 */
export function folderCycles(root) {
  const imports = new Map();
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  )) {
    const source = readFileSync(path.join(root, file), 'utf8');
    for (const [, target] of source.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const [from, to] = [folderOf(file), folderOf(path.join(path.dirname(file), target))];
      if (from === to) continue;
      const targets = imports.get(from) ?? new Map();
      imports.set(from, targets.set(to, `${file} imports ${target}`));
    }
  }
  const cycles = [];
  for (const [folder, targets] of imports) {
    for (const [target, example] of targets) {
      if (folder < target && reaches(imports, target, folder))
        cycles.push(`${folder} and ${target} import each other: ${example}`);
    }
  }
  return cycles;
}

function folderOf(file) {
  const folder = path.dirname(file);
  return folder === '.' ? file.replace(/\.[jt]s$/, '') : folder;
}

function reaches(imports, from, to, seen = new Set()) {
  if (from === to) return true;
  if (seen.has(from)) return false;
  seen.add(from);
  return [...(imports.get(from)?.keys() ?? [])].some((next) => reaches(imports, next, to, seen));
}
