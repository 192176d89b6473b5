/** Loaded into a server process with `--expose-gc --import`, so that what is weighed of it is not its garbage. */
process.on('SIGUSR2', () => globalThis.gc?.());
