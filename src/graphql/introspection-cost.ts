import {
  getNamedType,
  isObjectType,
  Kind,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
  type FieldNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
} from 'graphql';

import type { MergedFields } from './selection.js';

/** `__schema` and `__type` themselves, which are not in any type's list of fields. */
export const META_FIELDS: ReadonlyMap<string, GraphQLField<unknown, unknown>> = new Map(
  [SchemaMetaFieldDef, TypeMetaFieldDef].map((field) => [field.name, field]),
);

/**
 * Counts the fields in the answer to an introspection. It walks the schema as the execution would, because the answer
 * depends on nothing else. The caller stops it when there are too many.
 *
 * @param nodes the fields `__schema` or `__type` that execution merges into one
 * @param merge the merged selections of fields
 * @param onField called for each field of the answer with its depth; it may throw to stop
 */
export function countIntrospection(
  schema: GraphQLSchema,
  nodes: readonly FieldNode[],
  merge: (nodes: readonly FieldNode[]) => MergedFields,
  onField: (depth: number) => void,
): void {
  const [node] = nodes;
  if (!node) return;
  const info = { schema } as GraphQLResolveInfo;
  const args = { name: nameOfType(schema, node), includeDeprecated: true };
  const walk = (
    fields: readonly FieldNode[],
    definition: GraphQLField<unknown, unknown>,
    source: unknown,
    depth: number,
  ) => {
    onField(depth);
    if (!fields[0]?.selectionSet) return;
    const found: unknown = definition.resolve?.(source, args, undefined, info);
    const type = getNamedType(definition.type);
    if (!isObjectType(type)) return;
    for (const item of Array.isArray(found) ? found : [found]) {
      if (item == null) continue;
      for (const [, inner] of merge(fields)) {
        const innerDefinition = type.getFields()[inner[0]?.name.value ?? ''];
        if (innerDefinition) walk(inner, innerDefinition, item, depth + 1);
      }
    }
  };
  const definition = META_FIELDS.get(node.name.value);
  if (definition) walk(nodes, definition, undefined, 1);
}

/** The name of the type that `__type(name: …)` requests. For a variable: the type with the most fields. */
function nameOfType(schema: GraphQLSchema, { arguments: args }: FieldNode): string | undefined {
  const value = args?.find(({ name }) => name.value === 'name')?.value;
  if (value?.kind === Kind.STRING) return value.value;
  const sizeOf = (type: GraphQLNamedType) => (isObjectType(type) ? Object.keys(type.getFields()).length : 0);
  return Object.values(schema.getTypeMap()).reduce((largest, type) =>
    sizeOf(type) > sizeOf(largest) ? type : largest,
  ).name;
}
