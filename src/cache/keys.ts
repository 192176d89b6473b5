import { createHash } from 'node:crypto';

/** Turns the parameters of a cached thing into its Redis key. */
export type KeyOf<Params> = (params: Params) => string;

type Placeholders<Template extends string> = Template extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never;

/**
 * The one home of how Redis keys are written.
 *
 * A key is declared as in the contract: `bot:{id}:details`. On a standalone Redis the braces are placeholders; on
 * Redis Cluster they stay in the key around the first parameter, the entity's id, as a hash tag, so that everything
 * about one entity (values, generations, locks, indexes) shares a slot.
 */
export class KeySpace {
  readonly cluster: boolean;
  private readonly prefix: string;

  constructor(options: { prefix: string; cluster: boolean }) {
    this.prefix = options.prefix;
    this.cluster = options.cluster;
  }

  /** Compiles a template; the first placeholder is the entity's id. */
  template<const Template extends string>(
    template: Template,
  ): KeyOf<Readonly<Record<Placeholders<Template>, string | number>>> {
    const literals: string[] = [];
    const names: Placeholders<Template>[] = [];
    let rest: string = template;
    for (let match = /\{(\w+)\}/.exec(rest); match; match = /\{(\w+)\}/.exec(rest)) {
      literals.push(rest.slice(0, match.index));
      names.push(match[1] as Placeholders<Template>);
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
        key += `${params[names[i] as Placeholders<Template>]}${literals[i + 1] ?? ''}`;
      }
      return key;
    };
  }

  /** A key that belongs to no entity, such as the circuit breaker's probe. */
  plain(name: string): string {
    return this.prefix + name;
  }

  /** The generation of a tag: `bot:{id}:gen`, `bot:{id}:stats:gen`. */
  generation(entity: string, facet: string | undefined): KeyOf<{ id: string }> {
    return this.template(facet === undefined ? `${entity}:{id}:gen` : `${entity}:{id}:${facet}:gen`);
  }

  /** The index of the live keys of an entity that cannot be listed from its id alone, such as its list pages. */
  index(entity: string): KeyOf<{ id: string }> {
    return this.template(`${entity}:{id}:index`);
  }
}

/** The part of a key that decides its slot in a Redis Cluster: what stands in the first braces, or else all of it. */
export function hashTagOf(key: string): string {
  const start = key.indexOf('{') + 1;
  const end = key.indexOf('}', start);
  return start > 0 && end > start ? key.slice(start, end) : key;
}

const LONGEST_TEXT = 64;

/**
 * Encodes free text for use inside a key, injectively: percent-encoding leaves only letters, digits, `-`, `_`, `.`
 * and `~`, so no text holds a separator, a brace or a glob character. Longer results are replaced by
 * `sha256:<hex>`, which no plain text encodes to, because of its colon.
 * @throws URIError if the text has a lone surrogate (it has no UTF-8 form).
 */
export function encodeKeyText(text: string): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  if (encoded.length <= LONGEST_TEXT) return encoded;
  return `sha256:${createHash('sha256').update(text, 'utf8').digest('hex')}`;
}
