import { parse } from 'secure-json-parse';

/**
 * The maximum nesting of brackets in a body: more than any input type nests, and far less than slows down the parser.
 */
const MAX_NESTING = 200;
/**
 * The maximum number of values in a body: far more than the largest input has. Many small values take much longer to
 * parse than a few long ones, and hold up all other requests.
 */
const MAX_VALUES = 100_000;

/**
 * Parses the JSON of a request's body.
 * @throws SyntaxError with the status 400 if the text is not JSON, nests too deeply, has too many values, or tries to set
 * a prototype
 */
export function parseJsonBody(text: string): unknown {
  const problem = structureProblem(text);
  if (problem !== undefined) throw badRequest(`The body ${problem}`);
  try {
    return parse(text) as unknown;
  } catch (cause) {
    throw badRequest('The body must be JSON', cause);
  }
}

function badRequest(message: string, cause?: unknown): Error {
  return Object.assign(new SyntaxError(message, { cause }), { statusCode: 400 });
}

const QUOTE = 34;
const COMMA = 44;
const BACKSLASH = 92;
const OPENING_BRACKET = 91;
const CLOSING_BRACKET = 93;
const OPENING_BRACE = 123;
const CLOSING_BRACE = 125;

/** Counts brackets and commas outside of strings. V8 needs seconds for some megabytes of them. */
function structureProblem(text: string): string | undefined {
  if (text.length <= 2 * MAX_NESTING) return undefined;
  let nesting = 0;
  let values = 1;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        i = endOfString(text, i + 1);
        break;
      case OPENING_BRACKET:
      case OPENING_BRACE:
        values++;
        if (++nesting > MAX_NESTING) return `must not nest more than ${MAX_NESTING} brackets`;
        break;
      case CLOSING_BRACKET:
      case CLOSING_BRACE:
        nesting--;
        break;
      case COMMA:
        values++;
        break;
    }
    if (values > MAX_VALUES) return `must not have more than ${MAX_VALUES} values`;
  }
  return undefined;
}

/** The position of the quotation mark that ends a string; the end of the text if there is none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (end - 1 - backslashes >= start && text.charCodeAt(end - 1 - backslashes) === BACKSLASH)
      backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}
