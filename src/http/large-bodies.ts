/** A large body that waits to be read, or is being read or answered. */
interface Body {
  readonly caller: string;
  readonly read: () => void;
}

/**
 * Limits how many large bodies are in memory at once: in all, and of each caller, so that one caller cannot use all the
 * room. The others wait unread, which costs no memory: their clients cannot send on. The limit of the time in which a
 * request must arrive also ends their wait.
 */
export class LargeBodies {
  private readonly waiting = new Set<Body>();
  private readonly admitted = new Set<Body>();

  constructor(private readonly max: { readonly total: number; readonly perCaller: number }) {}

  /**
   * Calls `read` as soon as there is room.
   * @returns call it when the request has been answered, or its client has left
   */
  enter(caller: string, read: () => void): () => void {
    const body = { caller, read };
    this.waiting.add(body);
    this.admit();
    return () => {
      this.waiting.delete(body);
      if (this.admitted.delete(body)) this.admit();
    };
  }

  private admit(): void {
    for (const body of this.waiting) {
      if (this.admitted.size >= this.max.total) return;
      const ofCaller = [...this.admitted].filter(({ caller }) => caller === body.caller).length;
      if (ofCaller >= this.max.perCaller) continue;
      this.waiting.delete(body);
      this.admitted.add(body);
      body.read();
    }
  }
}
