import {
  getOperationAST,
  getVariableValues,
  Kind,
  OperationTypeNode,
  visit,
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import { LRUCache } from 'lru-cache';

import { memoryOf } from '../document-cache.js';
import type { PlannedRequest, Plans } from '../execution.js';
import type { OperationContext } from '../operation-context.js';
import { includedWith } from '../selection.js';
import type { Select } from './completion.js';
import { PlanMaker } from './make-plan.js';
import type { PlanRun } from './plan-run.js';

/** The maximum memory of all plans and their documents, in bytes. */
const MAX_PLAN_BYTES = 16 * 1024 * 1024;
/** V8's memory for a field of a plan, in bytes: measured, and rounded up. */
const BYTES_PER_FIELD = 1_000;
/** The maximum number of fields of a plan: fragments that are spread in many places multiply. */
const MAX_FIELDS = 1_000;
/** The maximum number of plans of a document: one for each of its operations and each choice of its fields. */
const MAX_VARIANTS = 8;

/** The maximum number of executions that are left to graphql-js after failures. */
const MAX_LEFT = 64;

/** The plan of one operation. */
interface Variant {
  /** null: it cannot be planned. */
  readonly select: Select | null;
  /** How many executions in a row have failed. Each was begun twice, which must not become a habit. */
  failures: number;
  /** How many executions are left to graphql-js from now on. */
  left: number;
}

/** The plans of one document, by operation and by the values of the variables that include or skip fields. */
interface DocumentPlans {
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** The variables in `@skip` and `@include`. */
  readonly conditions: readonly string[];
  readonly variants: Map<string, Variant>;
  readonly bytes: number;
}

/**
 * Plans of execution: closures that are made once for each query, and then execute it field by field over all objects of
 * a level (breadth-first), so that a batch costs one call. They write JSON at once.
 *
 * A plan answers only if nothing fails. After any error, and for everything that plans do not know, graphql-js executes
 * the query from the beginning, and reads everything again. So errors are always those of graphql-js.
 * Mutations are never planned.
 *
 * Executing breadth-first is after Shopify's https://github.com/Shopify/graphql-breadth-exec.
 */
export class QueryPlans implements Plans {
  private readonly plans = new LRUCache<DocumentNode, DocumentPlans>({
    maxSize: MAX_PLAN_BYTES,
    sizeCalculation: ({ bytes }) => bytes,
  });

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly onExecution: (by: 'plan' | 'graphql-js') => void = () => {},
  ) {}

  execute(request: PlannedRequest, contextValue: OperationContext): Promise<string | undefined> | undefined {
    const executing = this.begin(request, contextValue);
    this.onExecution(executing ? 'plan' : 'graphql-js');
    return executing;
  }

  private begin(
    { document, operationName, variables }: PlannedRequest,
    contextValue: OperationContext,
  ): Promise<string | undefined> | undefined {
    const operation = getOperationAST(document, operationName);
    if (operation?.operation !== OperationTypeNode.QUERY || !contextValue.authorization.isAuthenticated)
      return undefined;
    const { schema } = this;
    const definitions = operation.variableDefinitions ?? [];
    const { coerced: variableValues } = getVariableValues(schema, definitions, variables ?? {}, {
      maxErrors: 1,
    });
    if (!variableValues) return undefined;
    const plans = this.plansOf(document);
    const variant = this.variantOf(plans, document, operation, variableValues);
    if (!variant?.select) return undefined;
    if (variant.left > 0) {
      variant.left--;
      return undefined;
    }
    const { fragments } = plans;
    return this.run(variant, variant.select, {
      schema,
      document,
      operation,
      fragments,
      variableValues,
      contextValue,
    });
  }

  private async run(variant: Variant, select: Select, run: PlanRun): Promise<string | undefined> {
    try {
      const [text] = await select([undefined], run, () => undefined);
      variant.failures = 0;
      return text;
    } catch {
      // graphql-js meets the same error again, and reports it.
      this.onExecution('graphql-js');
      variant.left = Math.min(2 ** variant.failures, MAX_LEFT);
      variant.failures++;
      run.contextValue.startAgain();
      return undefined;
    }
  }

  private plansOf(document: DocumentNode): DocumentPlans {
    const known = this.plans.get(document);
    if (known) return known;
    const fragments = Object.create(null) as Record<string, FragmentDefinitionNode>;
    for (const definition of document.definitions) {
      if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] = definition;
    }
    const plans = {
      fragments,
      conditions: conditionsOf(document),
      variants: new Map<string, Variant>(),
      bytes: memoryOf(document),
    };
    this.plans.set(document, plans);
    return plans;
  }

  private variantOf(
    plans: DocumentPlans,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variableValues: Readonly<Record<string, unknown>>,
  ): Variant | undefined {
    const { conditions, variants } = plans;
    const choice = conditions.map((name) => String(variableValues[name])).join();
    const key = `${operation.name?.value ?? ''} ${choice}`;
    let variant = variants.get(key);
    if (!variant) {
      if (variants.size >= MAX_VARIANTS) return undefined;
      const maker = new PlanMaker(plans.fragments, includedWith(variableValues), MAX_FIELDS);
      variant = { select: this.make(maker, operation), failures: 0, left: 0 };
      variants.set(key, variant);
      this.plans.set(document, { ...plans, bytes: plans.bytes + maker.size * BYTES_PER_FIELD });
    }
    return variant;
  }

  private make(maker: PlanMaker, operation: OperationDefinitionNode): Select | null {
    const root = this.schema.getRootType(operation.operation);
    try {
      return root ? maker.select(root, [operation.selectionSet]) : null;
    } catch {
      // What plans do not know, or a directive that graphql-js will report.
      return null;
    }
  }
}

/** The variables that decide in `@skip` and `@include` whether a field is included. */
function conditionsOf(document: DocumentNode): string[] {
  const names = new Set<string>();
  visit(document, {
    Directive({ name, arguments: given = [] }) {
      if (name.value !== 'skip' && name.value !== 'include') return;
      for (const { value } of given) if (value.kind === Kind.VARIABLE) names.add(value.name.value);
    },
  });
  return [...names];
}
