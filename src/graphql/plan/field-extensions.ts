import type { OperationContext } from '../operation-context.js';
import type { Eventually } from './plan-run.js';

/** `extensions` of a field in the schema that only plans use: `@Extensions({ resolveMany })` in a resolver. */
export interface FieldExtensions {
  readonly resolveMany?: ResolveMany;
  readonly expect?: Expect;
}

/** Resolves one field of many objects together. Returns the values aligned with the objects. */
export type ResolveMany = (
  sources: readonly unknown[],
  args: Readonly<Record<string, unknown>>,
  context: OperationContext,
) => Eventually<readonly unknown[]>;

/**
 * The object that the field will probably have; undefined if nothing is known. What is selected below it is then read
 * in the round trip that reads the object. A wrong guess costs a read, and changes no answer.
 */
export type Expect = (args: Readonly<Record<string, unknown>>, context: OperationContext) => unknown;
