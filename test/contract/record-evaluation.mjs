/** Loaded before a server: writes which package makes code from text, as `--disallow-code-generation-from-strings` would refuse it. */
const record = (parts) => {
  const source = parts.map(String).join(' ');
  // An empty text only asks whether it is allowed.
  if (source === '') return;
  const [, name] =
    /[\\/]node_modules[\\/](?!.*[\\/]node_modules[\\/])((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(
      new Error('Code is made from text').stack?.split('\n').find((line) => line.includes('node_modules')) ??
        '',
    ) ?? [];
  process.stderr.write(`CODE ${name ?? 'the server'}\n`);
};

const recording = (original) =>
  new Proxy(original, {
    apply(target, self, parts) {
      record(parts);
      return Reflect.apply(target, self, parts);
    },
    construct(target, parts, newTarget) {
      record(parts);
      return Reflect.construct(target, parts, newTarget);
    },
  });

const kinds = [function () {}, async function () {}, function* () {}, async function* () {}].map((each) =>
  Object.getPrototypeOf(each),
);
for (const prototype of kinds) {
  Object.defineProperty(prototype, 'constructor', {
    value: recording(prototype.constructor),
    configurable: true,
  });
}
globalThis.Function = Function.prototype.constructor;
Object.defineProperty(globalThis, 'eval', { value: recording(Reflect.get(globalThis, 'eval')) });
