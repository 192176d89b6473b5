import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  buildSchema,
  isObjectType,
  Kind,
  parse,
  TypeInfo,
  validate,
  visit,
  visitWithTypeInfo,
  type DocumentNode,
} from 'graphql';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { casesFor, type Case } from './requests.js';

const schema = buildSchema(readFileSync(path.join(process.cwd(), 'schema/schema.graphql'), 'utf8'));
const SEED = 1;
const CASES = 800;
const cases = [
  ...fc.sample(casesFor(schema, 'query'), { seed: SEED, numRuns: CASES }),
  ...fc.sample(casesFor(schema, 'mutation'), { seed: SEED, numRuns: CASES }),
];

const documentOf = ({ asks: [ask] }: Case): string => {
  if (!ask) return '';
  if (ask.method === 'GET') return new URLSearchParams(ask.text).get('query') ?? '';
  return String((JSON.parse(ask.text) as { query: unknown }).query);
};

const valid = cases.flatMap((each): DocumentNode[] => {
  try {
    const document = parse(documentOf(each));
    return validate(schema, document).length === 0 ? [document] : [];
  } catch {
    return [];
  }
});

/** The equivalence tests can find only errors in requests that are generated. */
describe('generated requests', () => {
  test('are mostly valid', () => {
    expect(valid.length / cases.length).toBeGreaterThan(0.75);
    expect(valid.length).toBeLessThan(cases.length);
  });

  test('name every field and argument of the schema', () => {
    const seen = new Set<string>();
    const info = new TypeInfo(schema);
    for (const document of valid) {
      visit(
        document,
        visitWithTypeInfo(info, {
          Field: () => void seen.add(`${info.getParentType()?.name}.${info.getFieldDef()?.name}`),
          Argument: () =>
            void seen.add(
              `${info.getParentType()?.name}.${info.getFieldDef()?.name}(${info.getArgument()?.name})`,
            ),
        }),
      );
    }
    const all = Object.values(schema.getTypeMap())
      .filter(isObjectType)
      .filter(({ name }) => !name.startsWith('__'))
      .flatMap((type) =>
        Object.values(type.getFields()).flatMap((field) => [
          `${type.name}.${field.name}`,
          ...field.args.map((argument) => `${type.name}.${field.name}(${argument.name})`),
        ]),
      );
    expect(all.filter((each) => !seen.has(each))).toEqual([]);
  });

  test('include every form that executors have handled wrongly', () => {
    const found = new Map<string, number>();
    const count = (form: string) => found.set(form, (found.get(form) ?? 0) + 1);
    for (const document of valid) {
      const forms = new Set<string>();
      const spreads = new Map<string, Set<string>>();
      if (document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION).length > 1) {
        forms.add('several operations');
      }
      visit(document, {
        FragmentSpread({ name, directives = [] }) {
          forms.add('spread');
          if (directives.length > 0) forms.add('conditional spread');
          const conditions = spreads.get(name.value) ?? new Set();
          conditions.add(JSON.stringify(directives.map((each) => [each.name.value, each.arguments])));
          spreads.set(name.value, conditions);
          if (conditions.size > 1) forms.add('spread under several conditions');
        },
        InlineFragment({ typeCondition, directives = [] }) {
          forms.add(typeCondition ? 'inline fragment on a type' : 'inline fragment on no type');
          if (directives.length > 0) forms.add('conditional inline fragment');
        },
        Field({ alias, directives = [] }) {
          if (directives.length > 0) forms.add('conditional field');
          if (alias && /^(__proto__|constructor|toString|hasOwnProperty)/.test(alias.value))
            forms.add('hostile alias');
        },
        FragmentDefinition({ selectionSet }) {
          if (selectionSet.selections.some(({ kind }) => kind === Kind.FRAGMENT_SPREAD))
            forms.add('nested fragments');
        },
        Directive({ arguments: [argument] = [] }) {
          forms.add(
            argument?.value.kind === Kind.VARIABLE ? 'condition by variable' : 'condition by literal',
          );
        },
        OperationDefinition({ operation, selectionSet }) {
          if (operation !== 'mutation') return;
          if (selectionSet.selections.length > 1) forms.add('mutations in series');
          if (selectionSet.selections.some(({ kind }) => kind !== Kind.FIELD))
            forms.add('mutations in fragments');
        },
        VariableDefinition({ type, defaultValue }) {
          if (defaultValue && type.kind !== Kind.NON_NULL_TYPE) forms.add('nullable variable with a default');
        },
      });
      for (const form of forms) count(form);
    }
    const rare = [
      'several operations',
      'spread',
      'conditional spread',
      'spread under several conditions',
      'inline fragment on a type',
      'inline fragment on no type',
      'conditional inline fragment',
      'conditional field',
      'hostile alias',
      'nested fragments',
      'condition by variable',
      'condition by literal',
      'mutations in series',
      'mutations in fragments',
      'nullable variable with a default',
    ].filter((form) => (found.get(form) ?? 0) < CASES / 50);
    expect(rare).toEqual([]);
  });

  test('shrink to a small document', () => {
    const hasConditionalSpread = (each: Case) => /\.\.\.\w+ +@skip/.test(documentOf(each));
    const { counterexample } = fc.check(
      fc.property(casesFor(schema, 'query'), (each) => !hasConditionalSpread(each)),
      { seed: SEED, numRuns: 1_000 },
    );
    const [smallest] = counterexample ?? [];
    expect(smallest?.asks).toHaveLength(1);
    expect(documentOf(smallest as Case).length).toBeLessThan(200);
  });

  test('are the same for the same seed, and each can be generated again by its number', () => {
    const [again] = fc.sample(casesFor(schema, 'query'), { seed: SEED, numRuns: 1 });
    expect(again).toEqual(cases[0]);
    const number = 17;
    const { counterexample } = fc.check(
      fc.property(casesFor(schema, 'query'), () => false),
      { seed: SEED, path: String(number), endOnFailure: true },
    );
    expect(counterexample?.[0]).toEqual(cases[number]);
  });
});
