/** Whatever stands in for the one Redis of a run. */
export interface RedisSide {
  readonly url: string | undefined;
  /** What servers have to be told beside the URL, or instead of it. */
  readonly settings: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}
