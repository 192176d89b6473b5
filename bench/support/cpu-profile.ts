import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** CPU time by function and by package. */
export interface SelfTimes {
  /** By function, the greatest first. */
  readonly functions: readonly SelfTime[];
  /** By package, or part of Node. */
  readonly packages: readonly SelfTime[];
}

/** A part of the time. */
export interface SelfTime {
  readonly name: string;
  readonly part: number;
}

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
  /** µs since 1970, or since the boot. */
  readonly startTime: number;
  readonly endTime: number;
}

const IDLE = new Set(['(idle)', '(root)']);

/**
 * Sums up the end of the profile that `node --cpu-prof` left in a folder.
 * @param lastMs length of the evaluated end of the profile (ms)
 */
export async function readSelfTimes(folder: string, lastMs: number): Promise<SelfTimes> {
  const name = (await readdir(folder)).find((file) => file.endsWith('.cpuprofile'));
  if (name === undefined) throw new Error(`There is no profile in ${folder}`);
  const profile = JSON.parse(await readFile(path.join(folder, name), 'utf8')) as Profile;
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const functions = new Map<string, number>();
  const packages = new Map<string, number>();
  let total = 0;
  let now = profile.startTime;
  profile.samples.forEach((id, i) => {
    const frame = frames.get(id);
    const delta = profile.timeDeltas[i] ?? 0;
    now += delta;
    if (!frame || IDLE.has(frame.functionName) || now < profile.endTime - lastMs * 1_000) return;
    total += delta;
    add(functions, describe(frame), delta);
    add(packages, packageOf(frame), delta);
  });
  const ranked = (times: ReadonlyMap<string, number>): SelfTime[] =>
    [...times]
      .map(([named, time]) => ({ name: named, part: time / total }))
      .toSorted((a, b) => b.part - a.part);
  return { functions: ranked(functions), packages: ranked(packages) };
}

const add = (times: Map<string, number>, name: string, delta: number): void => {
  times.set(name, (times.get(name) ?? 0) + delta);
};

type Frame = Profile['nodes'][number]['callFrame'];

function packageOf({ functionName, url }: Frame): string {
  if (url === '') return functionName === '(garbage collector)' ? functionName : 'native code';
  if (url.startsWith('node:')) return 'Node';
  const [, scope, name] = /.*\/node_modules\/(?:(@[^/]+)\/)?([^/]+)\//.exec(url) ?? [];
  if (name !== undefined) return scope === undefined ? name : `${scope}/${name}`;
  return /\/dist-bench\/(src\/[^/]+|bench)/.exec(url)?.[1] ?? 'generated code';
}

function describe({ functionName, url, lineNumber }: Frame): string {
  if (url === '') return functionName || '(generated code)';
  const place = url.replace(/^.*\/(?:dist-bench|node_modules)\//, '');
  return `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`;
}
