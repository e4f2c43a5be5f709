/** Where peers added at run time are kept, so that a restart finds them again. */
export interface PeerBook {
  all(): Promise<{ url: string; nodeId: string | null }[]>;
  put(url: string, nodeId: string | null): Promise<void>;
  remove(url: string): Promise<void>;
}
