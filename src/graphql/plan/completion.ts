import type { GraphQLLeafType } from 'graphql';

import {
  andThen,
  NotPlannedError,
  type Column,
  type Eventually,
  type PathOf,
  type PlanRun,
} from './plan-run.js';

/** Completes the values that a field has in all objects of a level. Throws where graphql-js would report an error. */
export type Complete = (values: readonly unknown[], run: PlanRun, pathOf: PathOf) => Eventually<Column>;

/** Executes a selection set on all objects of a level. Returns each as JSON. */
export type Select = (sources: readonly unknown[], run: PlanRun, pathOf: PathOf) => Eventually<Column>;

/** The JSON text of a leaf. */
export function leafText(type: GraphQLLeafType, isNonNull: boolean, value: unknown): string {
  if (value == null) return nullText(isNonNull);
  if (typeof value === 'object') refuseUnusual(value);
  if (typeof value === 'function') throw new NotPlannedError();
  const serialized: unknown = type.serialize(value);
  const text = JSON.stringify(serialized) as string | undefined;
  if (serialized == null || text === undefined) throw new NotPlannedError();
  return text;
}

function nullText(isNonNull: boolean): string {
  if (isNonNull) throw new NotPlannedError();
  return 'null';
}

/** A resolver may return an error in the place of a value, or a promise of one. */
function refuseUnusual(value: object): void {
  if (value instanceof Error) throw value;
  if ('then' in value) throw new NotPlannedError();
}

export const completeLeaf =
  (type: GraphQLLeafType, isNonNull: boolean): Complete =>
  (values) =>
    values.map((value) => leafText(type, isNonNull, value));

/** Completes objects; `select` gets those that are not null. */
export const completeObject =
  (select: Select, isNonNull: boolean): Complete =>
  (values, run, pathOf) => {
    const present: object[] = [];
    const positions: number[] = [];
    values.forEach((value, n) => {
      if (value == null) {
        nullText(isNonNull);
        return;
      }
      if (typeof value !== 'object') throw new NotPlannedError();
      refuseUnusual(value);
      present.push(value);
      positions.push(n);
    });
    if (present.length === values.length) return select(present, run, pathOf);
    const selected = present.length === 0 ? [] : select(present, run, (n) => pathOf(positions[n] ?? 0));
    return andThen(selected, (texts) => {
      const column: string[] = values.map(() => 'null');
      positions.forEach((position, n) => (column[position] = texts[n] ?? ''));
      return column;
    });
  };

/** Completes lists; `complete` gets the items of all of them together. */
export const completeList =
  (complete: Complete, isNonNull: boolean): Complete =>
  (values, run, pathOf) => {
    const lists = values.map((value): readonly unknown[] | undefined => {
      if (value == null) {
        nullText(isNonNull);
        return undefined;
      }
      if (!Array.isArray(value)) throw new NotPlannedError();
      return value;
    });
    const items = lists.length === 1 ? (lists[0] ?? []) : lists.flatMap((list) => list ?? []);
    const pathOfItem: PathOf = (n) => {
      let index = n;
      let list = 0;
      for (; index >= (lists[list]?.length ?? 0); list++) index -= lists[list]?.length ?? 0;
      return { prev: pathOf(list), key: index, typename: undefined };
    };
    return andThen(complete(items, run, pathOfItem), (texts) => {
      let next = 0;
      return lists.map((list) =>
        list === undefined ? 'null' : `[${texts.slice(next, (next += list.length)).join()}]`,
      );
    });
  };
