import { appendFileSync } from 'node:fs';

/** Jest reporter of `.ci/run`: a skipped test fails the run, and what was counted is added to a file. */
export default class NoSkips {
  onRunComplete(_contexts, results) {
    const skipped = results.numPendingTests + results.numTodoTests;
    if (skipped > 0) {
      const names = results.testResults
        .flatMap(({ testResults }) => testResults)
        .filter(({ status }) => !['passed', 'failed'].includes(status))
        .map(({ fullName }) => `  ${fullName}`);
      this.error = new Error(`${skipped} tests were skipped:\n${names.join('\n')}`);
    }
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites + skipped;
    appendFileSync(process.env.TEST_COUNTS, `${results.numPassedTests} ${failed}\n`);
  }

  getLastError() {
    return this.error;
  }
}
