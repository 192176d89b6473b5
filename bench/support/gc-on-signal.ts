/** Loaded into a server process with `--expose-gc --import`, so that its memory is measured without garbage. */
process.on('SIGUSR2', () => globalThis.gc?.());
