/** The life of a bot as a growing quantity. */
export const Life = { UNBORN: 0, ALIVE: 1, DELETED: 2 } as const;
