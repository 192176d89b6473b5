import {
  BREAK,
  GraphQLError,
  Kind,
  parse,
  TokenKind,
  visit,
  type DocumentNode,
  type GraphQLSchema,
} from 'graphql';

import { OperationCosts } from './operation-cost.js';

/**
 * The limits of a document. Each is far above the needs of a front end, and bounds something that costs more than its
 * bytes: nesting exhausts the parser's stack; names and lines make error messages and locations expensive; operations
 * and aliases multiply the work of validation and execution.
 */
export const DOCUMENT_LIMITS = {
  tokens: 10_000,
  lines: 2_000,
  /** Brackets of any kind within each other. */
  nesting: 100,
  /** Characters of a name. */
  nameLength: 200,
  operations: 50,
  aliases: 60,
} as const;

const NESTING_RULE = `has more than ${DOCUMENT_LIMITS.nesting} nested brackets`;
/** The error message of graphql-js for this limit. */
const TOO_MANY_TOKENS = /Document contains more that \d+ tokens/;

/** A document that exceeds a limit; the message is meant for the client. */
export class DocumentTooLargeError extends GraphQLError {
  constructor(message: string) {
    super(message, { extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
  }
}

/**
 * Checks the limits of a document before Apollo Server validates it, because the time of validation can grow with the
 * square of the document. A text that cannot be parsed passes: Apollo Server reports the syntax error.
 *
 * @throws DocumentTooLargeError
 */
export function checkDocumentLimits(schema: GraphQLSchema, text: string): void {
  checkLines(text);
  const document = parseWithinLimits(text);
  if (!document) return;
  checkTokens(document);
  checkStructure(schema, document);
}

function checkLines(text: string): void {
  let lines = 1;
  for (const _ of text.matchAll(/\r\n|[\n\r]/g)) {
    if (++lines > DOCUMENT_LIMITS.lines) refuse(`has more than ${DOCUMENT_LIMITS.lines} lines`);
  }
}

/** The parsed text; undefined if it cannot be parsed. */
function parseWithinLimits(text: string): DocumentNode | undefined {
  try {
    return parse(text, { maxTokens: DOCUMENT_LIMITS.tokens });
  } catch (error) {
    // The parser calls itself for each bracket, and the stack is limited.
    if (error instanceof RangeError) refuse(NESTING_RULE);
    if (error instanceof Error && TOO_MANY_TOKENS.test(error.message)) {
      refuse(`has more than ${DOCUMENT_LIMITS.tokens} tokens`);
    }
    return undefined;
  }
}

function checkTokens({ loc }: DocumentNode): void {
  let nesting = 0;
  for (let token = loc?.startToken; token; token = token.next ?? undefined) {
    const { kind, value } = token;
    if (kind === TokenKind.BRACE_L || kind === TokenKind.BRACKET_L || kind === TokenKind.PAREN_L) nesting++;
    if (kind === TokenKind.BRACE_R || kind === TokenKind.BRACKET_R || kind === TokenKind.PAREN_R) nesting--;
    if (nesting > DOCUMENT_LIMITS.nesting) refuse(NESTING_RULE);
    if (kind === TokenKind.NAME && value.length > DOCUMENT_LIMITS.nameLength) {
      refuse(`has a name of more than ${DOCUMENT_LIMITS.nameLength} characters`);
    }
  }
}

function checkStructure(schema: GraphQLSchema, document: DocumentNode): void {
  let aliases = 0;
  visit(document, {
    Field({ alias }) {
      if (alias && ++aliases > DOCUMENT_LIMITS.aliases) return BREAK;
      return undefined;
    },
  });
  if (aliases > DOCUMENT_LIMITS.aliases) refuse(`has more than ${DOCUMENT_LIMITS.aliases} aliases`);
  const operations = document.definitions.filter(
    (definition) => definition.kind === Kind.OPERATION_DEFINITION,
  );
  if (operations.length > DOCUMENT_LIMITS.operations) {
    refuse(`has more than ${DOCUMENT_LIMITS.operations} operations`);
  }
  const costs = new OperationCosts(schema, document, refuse);
  for (const operation of operations) costs.check(operation);
}

function refuse(rule: string): never {
  throw new DocumentTooLargeError(`The document ${rule}`);
}
