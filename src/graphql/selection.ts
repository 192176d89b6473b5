import {
  getDirectiveValues,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  Kind,
  type FieldNode,
  type FragmentDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

export type Fragments = Readonly<Record<string, FragmentDefinitionNode | undefined>>;

/** The fields of an object that execution merges into one, by their name in the answer. */
export type MergedFields = ReadonlyMap<string, readonly FieldNode[]>;

/**
 * Merges the selection sets of one object as execution does: fields with the same name in the answer are one field,
 * and a fragment counts once, however often it is spread.
 *
 * @param isIncluded whether a selection counts; by default `@skip` and `@include` are ignored
 * @param onSelection called for each visited selection; it may throw to stop
 */
export function mergeSelections(
  selectionSets: readonly SelectionSetNode[],
  fragments: Fragments,
  isIncluded: (selection: SelectionNode) => boolean = () => true,
  onSelection: (selection: SelectionNode) => void = () => {},
): MergedFields {
  const merged = new Map<string, FieldNode[]>();
  const spread = new Set<string>();
  const visit = (selectionSet: SelectionSetNode) => {
    for (const selection of selectionSet.selections) {
      onSelection(selection);
      if (!isIncluded(selection)) continue;
      if (selection.kind === Kind.FIELD) {
        const name = selection.alias?.value ?? selection.name.value;
        const fields = merged.get(name);
        if (fields) fields.push(selection);
        else merged.set(name, [selection]);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        visit(selection.selectionSet);
      } else if (!spread.has(selection.name.value)) {
        spread.add(selection.name.value);
        const fragment = fragments[selection.name.value];
        if (fragment) visit(fragment.selectionSet);
      }
    }
  };
  for (const selectionSet of selectionSets) visit(selectionSet);
  return merged;
}

/** The selection sets of fields that execution merges into one. */
export const selectionSetsOf = (fields: readonly FieldNode[]): SelectionSetNode[] =>
  fields.flatMap(({ selectionSet }) => selectionSet ?? []);

/** Whether `@skip` and `@include` include a selection, by the rules of execution. */
export const includedWith =
  (variableValues: Readonly<Record<string, unknown>>) =>
  (selection: SelectionNode): boolean =>
    getDirectiveValues(GraphQLSkipDirective, selection, variableValues)?.if !== true &&
    getDirectiveValues(GraphQLIncludeDirective, selection, variableValues)?.if !== false;
