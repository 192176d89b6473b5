import {
  getNamedType,
  isObjectType,
  type FieldNode,
  type GraphQLOutputType,
  type SelectionSetNode,
} from 'graphql';

import type { OperationContext } from '../operation-context.js';
import { selectionSetsOf, type MergedFields } from '../selection.js';
import type { FieldExtensions } from './field-extensions.js';

/** Begins to read what is selected below objects that are expected in the answer. Nobody waits for it. */
export type ReadAhead = (expected: readonly unknown[], context: OperationContext) => void;

/**
 * Finds the fields below a field that are resolved for many objects together, and need nothing but the objects. Returns
 * undefined if there are none.
 * @param merge merges selection sets as the plan does
 */
export function readAheadOf(
  type: GraphQLOutputType,
  selectionSets: readonly SelectionSetNode[],
  merge: (selectionSets: readonly SelectionSetNode[]) => MergedFields,
): ReadAhead | undefined {
  const named = getNamedType(type);
  if (!isObjectType(named)) return undefined;
  const fields: ReadAhead[] = [];
  for (const [, nodes] of merge(selectionSets)) {
    const definition = named.getFields()[nameOf(nodes)];
    if (!definition || definition.args.length > 0) continue;
    const { resolveMany } = definition.extensions as FieldExtensions;
    const below = readAheadOf(definition.type, selectionSetsOf(nodes), merge);
    if (resolveMany) {
      fields.push((objects, context) => {
        // The field itself reports a failure.
        void Promise.resolve(resolveMany(objects, {}, context)).catch(() => undefined);
      });
    } else if (below) {
      fields.push((objects, context) => {
        const values = objects.flatMap(
          (object) => (object as Record<string, unknown>)[definition.name] ?? [],
        );
        if (values.length > 0) below(values, context);
      });
    }
  }
  if (fields.length === 0) return undefined;
  return (objects, context) => {
    for (const begin of fields) begin(objects, context);
  };
}

const nameOf = ([node]: readonly FieldNode[]): string => node?.name.value ?? '';
