/** Errors that a refused request is answered with, the one included that says that there are more. */
export const MAX_ERRORS = 10;

/** Characters of an error's message and of the name of its field: both can repeat what the client sent. */
export const MAX_MESSAGE_CHARACTERS = 500;

export const shorten = (text: string): string =>
  text.length <= MAX_MESSAGE_CHARACTERS ? text : `${text.slice(0, MAX_MESSAGE_CHARACTERS)}…`;
