/** Asks a running node, by GET unless told otherwise. @throws Error that says what came instead of an answer, and what to do */
export async function ask(base: string, path: string, method = 'GET'): Promise<unknown> {
  const secret = process.env.P2P_SECRET;
  let response: Response;
  try {
    response = await fetch(new URL(path, base), {
      method,
      headers: secret ? { authorization: `Bearer ${secret}` } : {},
      signal: AbortSignal.timeout(10_000),
    });
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    throw new Error(`No node answers at ${base}${code}. Is it running? Give its address with --url.`);
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body;
  const detail =
    typeof body === 'object' && body !== null && 'detail' in body ? String(body.detail) : 'It is no pgmesh node.';
  const remedy = response.status === 401 ? ' Set P2P_SECRET in the environment of this command.' : '';
  throw new Error(`${base} answered ${response.status}: ${detail}${remedy}`);
}

export const nodeUrl = ['--url <url>', 'The address of the node', 'http://127.0.0.1:8001'] as const;
