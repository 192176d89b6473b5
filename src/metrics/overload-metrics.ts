import type { AdmissionState, RefusalReason } from '../overload/admission.js';
import type { Families } from './families.js';

/** Metrics of the requests that are executed, wait for their turn, or are refused. */
export function overloadMetrics(families: Families) {
  const addRefusal = families.counterOf(
    'flovo_overload_refusals_total',
    'GraphQL requests that were refused with OVERLOADED: too many waited (full), or for too long (late)',
    'reason',
    ['full', 'late'],
  );
  return {
    refused: (reason: RefusalReason) => addRefusal(reason),
    /** Adds the gauges, which are read when the metrics are read. */
    watch(state: () => AdmissionState): void {
      families.readGauge(
        'flovo_requests_max_in_flight',
        'The maximum number of GraphQL requests that are executed at a time',
        () => state().max,
      );
      families.readGauge(
        'flovo_requests_in_flight',
        'GraphQL requests that are being executed; cached responses are not among them',
        () => state().inFlight,
      );
      families.readGauge(
        'flovo_requests_waiting',
        'GraphQL requests that wait for their turn',
        () => state().waiting,
      );
    },
  };
}
