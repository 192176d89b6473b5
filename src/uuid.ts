/** A uuid in lower case, as a part of a regular expression. */
export const UUID_PATTERN = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';

const UUID = new RegExp(`^${UUID_PATTERN}$`, 'i');

/** Whether a text is a uuid, in lower or upper case. */
export const isUuid = (text: string): boolean => UUID.test(text);
