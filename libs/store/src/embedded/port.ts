import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { EmbeddedFailure, errorCode } from './failure';

/** Which ports a server may get: the wanted one, and whether any other will do when it is taken. */
export interface PortWish {
  port?: number;
  portFallback?: boolean;
}

/** Binds a port for a moment; 0 asks for any. Undefined when it is taken. */
async function tryPort(host: string, port: number): Promise<number | undefined> {
  const listener = createServer().listen({ host, port, exclusive: true });
  try {
    await once(listener, 'listening');
  } catch (error) {
    if (errorCode(error) === 'EADDRINUSE') return undefined;
    throw new EmbeddedFailure('EMBEDDED_PORT_TAKEN', `Cannot listen on port ${port} of ${host}.`, { cause: error });
  }
  const { port: bound } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return bound;
}

/** The port to start on: free a moment ago, which is all that can be known before the server has it. */
export async function choosePort(host: string, wish: PortWish): Promise<number> {
  const wanted = wish.port ? await tryPort(host, wish.port) : undefined;
  if (wanted !== undefined) return wanted;
  if (!takesAnyPort(wish)) throw portTaken(host, wish.port ?? 0);
  const free = await tryPort(host, 0);
  if (free === undefined) throw portTaken(host, 0);
  return free;
}

export function takesAnyPort(wish: PortWish): boolean {
  return !wish.port || wish.portFallback === true;
}

export function portTaken(host: string, port: number): EmbeddedFailure {
  return new EmbeddedFailure(
    'EMBEDDED_PORT_TAKEN',
    port
      ? `Port ${port} on ${host} is taken. Stop the program that listens there, or choose another port.`
      : `No free port is left on ${host}.`,
  );
}
