/**
 * Shifts the wall clock of the importing server at each SIGUSR2: an hour ahead, an hour back, a day ahead, a day back, and
 * back to the right time. Timers and the monotonic clock do not change, as when an administrator sets the time.
 */
const HOUR_MS = 3_600_000;
const OFFSETS_MS = [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -24 * HOUR_MS, 0];

const RealDate = Date;
let step = -1;
const offsetMs = (): number => OFFSETS_MS[step] ?? 0;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: [], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [RealDate.now() + offsetMs()] : args, newTarget) as Date,
  get: (target, property, receiver): unknown =>
    property === 'now' ? () => RealDate.now() + offsetMs() : Reflect.get(target, property, receiver),
});

process.on('SIGUSR2', () => {
  step = (step + 1) % OFFSETS_MS.length;
});
