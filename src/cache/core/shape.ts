import { createHash } from 'node:crypto';

type ScalarName<Value> = [Value] extends [string]
  ? 'string'
  : [Value] extends [number]
    ? 'number'
    : [Value] extends [boolean]
      ? 'boolean'
      : never;

/**
 * The shape of a type of JSON values: `'string'`, `'number?'` (or null), `[shape]` for arrays, and a shape for each
 * field of an object. A field that is in the type but not in the shape is a compile error.
 */
export type ShapeOf<Value> = null extends Value
  ? `${ScalarName<NonNullable<Value>>}?`
  : [Value] extends [string | number | boolean]
    ? ScalarName<Value>
    : Value extends readonly (infer Element)[]
      ? readonly [ShapeOf<Element>]
      : { readonly [Field in keyof Value]-?: ShapeOf<Value[Field]> };

export type Shape = string | readonly [Shape] | { readonly [field: string]: Shape };

const DIGEST_CHARACTERS = 8;

/** The digest of a shape: two releases whose values have the same fields get the same digest. */
export function digestOfShape(shape: Shape): string {
  return createHash('sha256').update(canonical(shape)).digest('hex').slice(0, DIGEST_CHARACTERS);
}

/** A shape as text, independent of the order of its fields. */
function canonical(shape: Shape): string {
  if (typeof shape === 'string') return shape;
  if (isArrayShape(shape)) return `[${canonical(shape[0])}]`;
  const fields = Object.keys(shape).toSorted();
  return `{${fields.map((field) => `${JSON.stringify(field)}:${canonical(shape[field] ?? '')}`).join()}}`;
}

/** Whether a parsed JSON value has a shape. Additional fields are allowed. */
export function isOfShape(value: unknown, shape: Shape): boolean {
  if (typeof shape === 'string') {
    return shape.endsWith('?')
      ? value === null || typeof value === shape.slice(0, -1)
      : typeof value === shape;
  }
  if (isArrayShape(shape)) {
    const [element] = shape;
    return Array.isArray(value) && value.every((each) => isOfShape(each, element));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  for (const field in shape) {
    if (!isOfShape((value as Record<string, unknown>)[field], shape[field] ?? '')) return false;
  }
  return true;
}

const isArrayShape = (shape: Exclude<Shape, string>): shape is readonly [Shape] => Array.isArray(shape);
