import { ErrorCode } from '../errors.js';
import { remembered, type Families } from './families.js';

/** Metrics of GraphQL operations. */
export function graphqlMetrics(families: Families) {
  const executions = families.counter(
    'flovo_graphql_executions_total',
    'Executions of operations whose document was known, by a plan or by graphql-js',
    ['by'],
  );
  const durations = families.latency(
    'flovo_graphql_operation_duration_seconds',
    'Time to answer a GraphQL operation, from its body to the text of the answer, cached responses included',
    ['operation', 'type'],
  );
  // graphql-js and Apollo Server have further codes.
  const addError = families.counterOf<string>(
    'flovo_graphql_errors_total',
    'Errors in answers of the GraphQL endpoint, by extensions.code',
    'code',
    Object.values(ErrorCode),
  );
  const executionOf = remembered((by) => executions.labels({ by }));
  const durationOf = remembered((operation, type) => durations.labels({ operation, type }));
  return {
    /** Counts an execution of an operation. */
    executed: (by: 'plan' | 'graphql-js') => executionOf(by).inc(),
    /** Records the duration of an operation, in seconds. The name must be bounded, see `OperationNames`. */
    operationAnswered: (operation: string, type: string, seconds: number) =>
      durationOf(operation, type).observe(seconds),
    /** Counts an error of an answer. */
    errorAnswered: (code: string) => addError(code),
  };
}
