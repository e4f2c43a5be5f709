/** What one round of pulling and pushing did, added up. */
export interface RoundResult {
  readonly rows: number;
  readonly changed: number;
  readonly conflicts: number;
  readonly tables: Readonly<Record<string, number>>;
}

export const emptyRound: RoundResult = { rows: 0, changed: 0, conflicts: 0, tables: {} };

export function addRounds(a: RoundResult, b: RoundResult): RoundResult {
  const tables: Record<string, number> = { ...a.tables };
  for (const [table, rows] of Object.entries(b.tables)) tables[table] = (tables[table] ?? 0) + rows;
  return {
    rows: a.rows + b.rows,
    changed: a.changed + b.changed,
    conflicts: a.conflicts + b.conflicts,
    tables,
  };
}

interface Waiter {
  readonly resolve: (result: RoundResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Those who wait for a round that begins after they asked. */
export class Waiters {
  #waiting: Waiter[] = [];

  next(): Promise<RoundResult> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Runs a round for those who wait now; its failure is theirs as well. */
  async during(round: () => Promise<RoundResult>): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const result = await round();
      for (const { resolve } of waiting) resolve(result);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
      throw error;
    }
  }

  fail(error: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(error);
  }
}
