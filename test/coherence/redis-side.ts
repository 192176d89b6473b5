/** The Redis of a run: standalone, Sentinel or Cluster. */
export interface RedisSide {
  readonly url: string | undefined;
  /** Settings of the servers beside the URL, or instead of it. */
  readonly settings: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}
