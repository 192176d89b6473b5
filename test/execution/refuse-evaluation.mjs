import vm from 'node:vm';

/**
 * Loaded before a server to refuse all making of code from text, as `--disallow-code-generation-from-strings` does, but
 * for Fastify's router: it compiles the paths of the routes when they are registered, and text of clients never.
 */
const ROUTER = /[\\/]find-my-way[\\/]/;

function refuse(parts) {
  const source = parts.map(String).join(' ');
  const { stack = '' } = new Error('Code is made from text');
  if (ROUTER.test(stack) && !source.includes('evaluated')) return;
  // Zod asks with an empty text whether it may.
  if (source !== '') process.stderr.write(`REFUSED CODE ${JSON.stringify(source.slice(0, 500))} ${stack}\n`);
  throw new EvalError('Code generation from strings disallowed for this context');
}

const guard = (original) =>
  new Proxy(original, {
    apply(target, self, parts) {
      refuse(parts);
      return Reflect.apply(target, self, parts);
    },
    construct(target, parts, newTarget) {
      refuse(parts);
      return Reflect.construct(target, parts, newTarget);
    },
  });

const kinds = [function () {}, async function () {}, function* () {}, async function* () {}].map((each) =>
  Object.getPrototypeOf(each),
);
for (const prototype of kinds) {
  Object.defineProperty(prototype, 'constructor', {
    value: guard(prototype.constructor),
    configurable: true,
  });
}
globalThis.Function = Function.prototype.constructor;
Object.defineProperty(globalThis, 'eval', { value: guard(Reflect.get(globalThis, 'eval')) });
for (const name of ['Script', 'compileFunction', 'runInThisContext', 'runInNewContext', 'runInContext']) {
  vm[name] = guard(vm[name]);
}
