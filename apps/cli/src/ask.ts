import type { ReadableStream } from 'node:stream/web';

/** Asks a running node, by GET unless told otherwise. @throws Error that says what came instead of an answer, and what to do */
export async function ask(base: string, path: string, method = 'GET'): Promise<unknown> {
  const response = await answered(base, path, { method, signal: AbortSignal.timeout(10_000) });
  return response.json().catch(() => null);
}

/** Lets a running node do something that takes its time; the answer comes as it goes on. @throws as `ask` */
export async function post(base: string, path: string, body: unknown): Promise<ReadableStream<Uint8Array>> {
  const headers = { 'content-type': 'application/json' };
  const response = await answered(base, path, { method: 'POST', headers, body: JSON.stringify(body) });
  return response.body as ReadableStream<Uint8Array>;
}

async function answered(base: string, path: string, init: RequestInit): Promise<Response> {
  const secret = process.env.P2P_SECRET;
  const headers = { ...init.headers, ...(secret ? { authorization: `Bearer ${secret}` } : {}) };
  let response: Response;
  try {
    response = await fetch(new URL(path, base), { ...init, headers });
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    throw new Error(`No node answers at ${base}${code}. Is it running? Give its address with --url.`);
  }
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  const detail =
    typeof body === 'object' && body !== null && 'detail' in body ? String(body.detail) : 'It is no pgmesh node.';
  const remedy = response.status === 401 ? ' Set P2P_SECRET in the environment of this command.' : '';
  throw new Error(`${base} answered ${response.status}: ${detail}${remedy}`);
}

export const nodeUrl = ['--url <url>', 'The address of the node', 'http://127.0.0.1:8001'] as const;
