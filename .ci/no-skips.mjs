import { appendFileSync } from 'node:fs';

/**
 * Jest reporter of `.ci/run`: a skipped test fails the run. What was counted of each file is added to a file, a line each:
 * the version of Node and the path, the tests that passed, those that did not.
 */
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
    for (const { testFilePath, numPassingTests, testResults, testExecError } of results.testResults) {
      const others = testResults.length - numPassingTests + (testExecError ? 1 : 0);
      appendFileSync(
        process.env.TEST_COUNTS,
        `${process.version}:${testFilePath} ${numPassingTests} ${others}\n`,
      );
    }
  }

  getLastError() {
    return this.error;
  }
}
