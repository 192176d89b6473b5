/** How often to look whether npm is still there (ms). */
const LOOK_MS = 200;

/**
 * Ends this process, as SIGTERM does, when the npm that runs it is ended: npm passes the signal to its shell alone, and a
 * shell like dash ends without telling its child.
 */
export function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
  }, LOOK_MS);
  timer.unref();
}
