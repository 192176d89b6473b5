import { createHash } from 'node:crypto';

/** Turns the parameters of a cached value into its Redis key. */
export type KeyOf<Params> = (params: Params) => string;

/** An example key of one kind, and the pattern of that kind. */
export interface KeyExample {
  readonly key: string;
  readonly pattern: string;
  readonly isIndex: boolean;
}

/** The parameters of a key, by placeholder name. */
export type KeyParams = Readonly<Record<string, string | number>>;

/** The first placeholder of a template: the id of the entity that the value belongs to. @throws if there is none */
export function entityPlaceholder(template: string): string {
  const [, name] = /\{(\w+)\}/.exec(template) ?? [];
  if (name === undefined) throw new Error(`The key ${template} names no entity`);
  return name;
}

/**
 * Builds all Redis keys.
 *
 * A key is declared as in the contract: `bot:{id}:details`. On a standalone Redis the braces are placeholders; on
 * Redis Cluster they stay in the key around the first parameter, the entity's id, as a hash tag, so that all keys of
 * one entity (values, generations, locks, indexes) share a slot.
 */
export class KeySpace {
  readonly cluster: boolean;
  /** What every key begins with. */
  readonly prefix: string;
  /** The compiled templates, and whether each is of an index. */
  private readonly kinds = new Map<string, boolean>();

  constructor(options: { prefix: string; cluster: boolean }) {
    this.prefix = options.prefix;
    this.cluster = options.cluster;
  }

  /** Compiles the template of a value's key; the first placeholder is the entity's id. */
  template(template: string): KeyOf<KeyParams> {
    const keyOf = this.compile(template);
    this.note(`${template}:lock`);
    return keyOf;
  }

  /** The key of a cached value, by its id. */
  valueKeyOf<Id>(described: { readonly key: string; readonly params: (id: Id) => KeyParams }): KeyOf<Id> {
    const keyOf = this.template(described.key);
    return (id) => keyOf(described.params(id));
  }

  private compile(template: string, isIndex = false): KeyOf<KeyParams> {
    this.note(template, isIndex);
    const literals: string[] = [];
    const names: string[] = [];
    let rest = template;
    for (let match = /\{(\w+)\}/.exec(rest); match; match = /\{(\w+)\}/.exec(rest)) {
      literals.push(rest.slice(0, match.index));
      names.push(match[1] as string);
      rest = rest.slice(match.index + match[0].length);
    }
    literals.push(rest);
    literals[0] = this.prefix + (literals[0] ?? '');
    if (this.cluster && names.length > 0) {
      literals[0] = `${literals[0]}{`;
      literals[1] = `}${literals[1] ?? ''}`;
    }
    return (params) => {
      let key = literals[0] ?? '';
      for (let i = 0; i < names.length; i++) {
        const param = params[names[i] ?? ''];
        if (param === undefined) throw new Error(`The key ${template} lacks its ${names[i] ?? ''}`);
        key += `${param}${literals[i + 1] ?? ''}`;
      }
      return key;
    };
  }

  /**
   * Matches the keys of a template, and names their parameters in groups. Some end in the digest of a shape, see
   * `ValueKeys`: the group `shape`.
   */
  matcher(template: string): RegExp {
    let isFirst = true;
    const pattern = template.replace(/\{(\w+)\}/g, (_placeholder, name: string) => {
      const group = isFirst ? `(?<${name}>[^:{}]+)` : `(?<${name}>.*?)`;
      const inKey = isFirst && this.cluster ? `\\{${group}\\}` : group;
      isFirst = false;
      return inKey;
    });
    const prefix = this.prefix.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    return new RegExp(`^${prefix}${pattern}(?::shape:(?<shape>[0-9a-f]{8}))?$`, 's');
  }

  /** One key of each compiled kind, for an entity of this name. No id may equal the name. */
  examples(name: string): KeyExample[] {
    return [...this.kinds].map(([template, isIndex]) => {
      let isFirst = true;
      const key = template.replace(/\{\w+\}/g, () => {
        const id = isFirst && this.cluster ? `{${name}}` : name;
        isFirst = false;
        return id;
      });
      return { key: this.prefix + key, pattern: this.prefix + template, isIndex };
    });
  }

  /** The generation of a tag: `bot:{id}:gen`, `bot:{id}:stats:gen`. */
  generation(entity: string, facet: string | undefined): KeyOf<{ id: string }> {
    return this.compile(facet === undefined ? `${entity}:{id}:gen` : `${entity}:{id}:${facet}:gen`);
  }

  /** The index of the live keys of an entity that cannot be listed from its id alone, such as its list pages. */
  index(entity: string): KeyOf<{ id: string }> {
    return this.compile(`${entity}:{id}:index`, true);
  }

  /** The list of the transactions that changed everything. */
  get everything(): string {
    return this.compile('everything:{id}:gen')({ id: 'all' });
  }

  /** The list of the values that are read most. Not a kind of key that the cache needs. */
  get mostRead(): string {
    return `${this.prefix}most-read:all`;
  }

  /** How much a caller has sent. Not a kind of key that the cache needs. */
  rate(kind: string): (caller: string) => string {
    return (caller) => `${this.prefix}rate:${kind}:${encodeKeyText(caller)}`;
  }

  private note(template: string, isIndex = false): void {
    this.kinds.set(template, isIndex);
  }
}

/** The part of a key that decides its slot in a Redis Cluster: the text in the first braces, or else the whole key. */
export function hashTagOf(key: string): string {
  const start = key.indexOf('{') + 1;
  const end = key.indexOf('}', start);
  return start > 0 && end > start ? key.slice(start, end) : key;
}

const MAX_TEXT_CHARACTERS = 64;

/**
 * Encodes free text for use inside a key, injectively: percent-encoding leaves only letters, digits, `-`, `_`, `.`
 * and `~`, so the result has no separator, brace or glob character. Longer results are replaced by `sha256:<hex>`,
 * which no text encodes to, because of its colon.
 * @throws URIError if the text has a lone surrogate (it has no UTF-8 form).
 */
export function encodeKeyText(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  if (encoded.length <= MAX_TEXT_CHARACTERS) return encoded;
  return `sha256:${createHash('sha256').update(text, 'utf8').digest('hex')}`;
}

/**
 * The text that {@link encodeKeyText} encoded; undefined if only its digest is in the key, or if somebody else has made
 * the key.
 */
export function decodeKeyText(encoded: string): string | undefined {
  if (encoded.startsWith('sha256:')) return undefined;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
