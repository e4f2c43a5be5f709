/** Keeps our lease with one bootstrap node: registers, joins, renews; and tries again while it is away. */
import { type BootstrapAnswer, Problem } from '@pgmesh/wire';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Warn } from '../discovery-source';
import { isLoopbackUrl } from '../peer-url';
import type { BootstrapClient } from './bootstrap-client';

/** As `GET /p2p/status` shows it. */
export interface BootstrapStatus {
  readonly url: string;
  /** `asking`: not answered yet. `away`: no answer. `refused`: it answers, and not as we want; `last_error` says why. */
  readonly state: 'asking' | 'registered' | 'away' | 'refused';
  /** When our lease there ends unless it is renewed: ISO 8601. */
  readonly lease_until: string | null;
  /** How many members of our room it introduces, ourselves included. */
  readonly joined: number | null;
  /** Members that cannot be dialled, as far as it named them. */
  readonly undialled: readonly string[];
  readonly last_error: { readonly code: string; readonly detail: string; readonly at: string } | null;
}

export interface LeaseParts {
  readonly nodeId: string;
  readonly room: string;
  readonly instance: string;
  readonly protocol: number;
  /** Where others can dial us; empty when they cannot. */
  readonly ownUrls: readonly string[];
  readonly client: BootstrapClient;
  readonly introduced: (by: string, neighbours: BootstrapAnswer<'join'>['neighbours']) => void;
  /** Whether we know anybody to dial. */
  readonly knowsSomebody: () => boolean;
  readonly warn: Warn;
  readonly random: () => number;
}

/** Times in milliseconds. A bootstrap node may make up any lease: it is not to make us ask without pause, nor never again. */
const shortestPause = 250;
const longestLease = 3_600_000;
/** While we know nobody, we ask this often: who comes next may be the first that we can dial. */
const lonelyPause = 2_000;
const firstRetry = 500;
/** Before it has told us of a lease. */
const presumedLease = 60_000;

export class LeaseKeeper {
  #lease = presumedLease;
  #state: BootstrapStatus['state'] = 'asking';
  #until: number | null = null;
  #told: BootstrapAnswer<'join'> | null = null;
  #error: BootstrapStatus['last_error'] = null;
  #mayHold = false;
  #warnedOf: string | null = null;
  readonly #urls: readonly string[];

  constructor(
    readonly url: string,
    private readonly parts: LeaseParts,
  ) {
    // Loopback is another machine's own: such an address leads nobody else to us.
    this.#urls = isLoopbackUrl(url) ? parts.ownUrls : parts.ownUrls.filter((own) => !isLoopbackUrl(own));
  }

  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      let pause: number;
      try {
        await this.#renew(signal);
        failures = 0;
        const third = this.#lease / 3;
        pause = this.#jittered(this.parts.knowsSomebody() ? third : Math.min(third, lonelyPause));
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        pause = this.#jittered(Math.min(this.#lease / 3, firstRetry * 2 ** Math.min(failures++, 20)));
      }
      await sleep(pause, undefined, { signal }).catch(() => undefined); // ended while asleep
    }
  }

  /** Nobody is sent to us any more, and we are forgotten. A lease that cannot be given back ends by itself. */
  async goodbye(signal: AbortSignal): Promise<void> {
    if (!this.#mayHold) return;
    const { client } = this.parts;
    try {
      await client.send(this.url, 'leave', this.#lessee, signal);
      await client.send(this.url, 'unreg', this.#lessee, signal);
    } catch (error) {
      this.#error = this.#described(error);
    }
  }

  status(): BootstrapStatus {
    return {
      url: this.url,
      state: this.#state,
      lease_until: this.#until === null ? null : new Date(this.#until).toISOString(),
      joined: this.#told?.joined ?? null,
      undialled: this.#told?.undialled ?? [],
      last_error: this.#error,
    };
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { client, protocol, introduced } = this.parts;
    this.#mayHold = true;
    const { lease_ms } = await client.send(
      this.url,
      'reg',
      { ...this.#lessee, protocol, urls: [...this.#urls] },
      signal,
    );
    this.#lease = Math.min(lease_ms, longestLease);
    this.#until = Date.now() + this.#lease;
    this.#told = await client.send(this.url, 'join', this.#lessee, signal);
    this.#state = 'registered';
    this.#error = null;
    introduced(this.url, this.#told.neighbours);
    this.#warnOnce(this.#told.neighbours.length === 0 ? this.#unreachable(this.#told.undialled) : null);
  }

  #failed(error: unknown): void {
    this.#error = this.#described(error);
    this.#state = this.#error.code === 'unreachable' ? 'away' : 'refused';
    const { detail } = this.#error;
    this.#warnOnce(
      this.#state === 'away'
        ? `The bootstrap node ${this.url} is away: ${detail.replace(/\.$/, '')}. It is asked again by itself; peers that are known stay.`
        : `The bootstrap node ${this.url} refuses: ${detail} It is asked again by itself; peers that are known stay.`,
    );
  }

  /** Where nobody can be dialled, nodes that wait for each other would do so for ever without a word. */
  #unreachable(undialled: readonly string[]): string | null {
    if (undialled.length === 0 || this.#urls.length > 0) return null;
    return (
      `The bootstrap node ${this.url} knows ${undialled.length} other(s) of room ${this.parts.room}, of which none can be dialled, nor ` +
      'can this node: they do not meet. Give one of them an address that the others reach (P2P_PUBLIC_URL).'
    );
  }

  /** Once for as long as it is so. What it says may hold particulars that change from try to try: the state decides. */
  #warnOnce(warning: string | null): void {
    const what = warning === null ? null : `${this.#state} ${this.#error?.code ?? ''}`;
    if (warning !== null && what !== this.#warnedOf) this.parts.warn(warning);
    this.#warnedOf = what;
  }

  #described(error: unknown): NonNullable<BootstrapStatus['last_error']> {
    const at = new Date().toISOString();
    if (error instanceof Problem && error.status < 500) return { code: error.code, detail: error.message, at };
    const { message, code } = error as NodeJS.ErrnoException;
    return { code: 'unreachable', detail: message || code || String(error), at };
  }

  #jittered(pause: number): number {
    return Math.max(shortestPause, pause * (0.8 + 0.4 * this.parts.random()));
  }

  get #lessee() {
    const { nodeId, room, instance } = this.parts;
    return { node_id: nodeId, room, instance };
  }
}
