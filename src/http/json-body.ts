import { parse } from 'secure-json-parse';

/**
 * The maximum nesting of brackets in a body: more than any input type nests, and far less than slows down the parser.
 */
const MAX_NESTING = 200;

/**
 * Parses the JSON of a request's body.
 * @throws SyntaxError with the status 400 if the text is not JSON, nests too deeply, or tries to set a prototype
 */
export function parseJsonBody(text: string): unknown {
  if (nestsTooDeeply(text)) throw badRequest(`The body must not nest more than ${MAX_NESTING} brackets`);
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
const BACKSLASH = 92;
const OPENING_BRACKET = 91;
const CLOSING_BRACKET = 93;
const OPENING_BRACE = 123;
const CLOSING_BRACE = 125;

/** Counts brackets outside of strings. V8 needs seconds for some megabytes of nested brackets. */
function nestsTooDeeply(text: string): boolean {
  if (text.length <= 2 * MAX_NESTING) return false;
  let nesting = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === QUOTE) {
      i = endOfString(text, i + 1);
    } else if (character === OPENING_BRACKET || character === OPENING_BRACE) {
      if (++nesting > MAX_NESTING) return true;
    } else if (character === CLOSING_BRACKET || character === CLOSING_BRACE) {
      nesting--;
    }
  }
  return false;
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
