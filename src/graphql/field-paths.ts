import { isIntrospectionType, isObjectType, responsePathAsArray, type GraphQLSchema } from 'graphql';

import type { OperationContext } from './operation-context.js';

/** Gives every resolver of a schema the context of its field's path, in requests that ask for it. */
export function passFieldPaths(schema: GraphQLSchema): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || isIntrospectionType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      const { resolve } = field;
      if (!resolve) continue;
      field.resolve = (source, args, context: OperationContext, info) => {
        const { at } = context;
        return resolve(source, args, at ? at(responsePathAsArray(info.path).join('.')) : context, info);
      };
    }
  }
}
