/** The maximum number of errors in the answer to a refused request, including the one that says that there are more. */
export const MAX_ERRORS = 10;

/** The maximum length of an error's message, and of its field's name: both can repeat text of the client. */
export const MAX_MESSAGE_CHARACTERS = 500;

export const shorten = (text: string): string =>
  text.length <= MAX_MESSAGE_CHARACTERS ? text : `${text.slice(0, MAX_MESSAGE_CHARACTERS)}…`;
