import { createHash } from 'node:crypto';
import type { PoolClient, QueryConfig, QueryResult } from 'pg';

const names = new Map<string, string>();

/** A statement that each connection prepares once and then runs by name. For texts whose number is bounded by that of tables. */
export function prepared(text: string, values: readonly unknown[]): QueryConfig {
  let name = names.get(text);
  if (name === undefined) {
    name = `p2p_${createHash('sha1').update(text).digest('hex').slice(0, 20)}`;
    names.set(text, name);
  }
  return { name, text, values: [...values] };
}

/**
 * Sends all statements at once and takes their results in order: one way over the network instead of one each. For a connection
 * at rest, inside a transaction: after a failure the later ones fail too, and the first failure is thrown.
 */
export async function burst<T extends readonly QueryConfig[]>(
  client: PoolClient,
  statements: readonly [...T],
): Promise<{ [I in keyof T]: QueryResult<Record<string, unknown>> }> {
  const pipelined = client as PoolClient & { pipeline: boolean };
  pipelined.pipeline = true;
  try {
    const results = await Promise.allSettled(statements.map((statement) => client.query(statement)));
    const failure = results.find((result) => result.status === 'rejected');
    if (failure) throw failure.reason;
    return results.map((result) => (result as PromiseFulfilledResult<QueryResult>).value) as never;
  } finally {
    pipelined.pipeline = false;
  }
}
