import { Problem } from '@pgmesh/wire';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isLoopbackName } from './loopback';

/**
 * Who is let in, for HTTP requests and WebSocket upgrades alike (invariant 11). Without a secret only this machine's own
 * clients are, and only under a loopback name: a page that rebinds its DNS name to 127.0.0.1 still sends that name as `Host`.
 */
export class Doorkeeper {
  private readonly digest: Buffer | null;

  constructor(secret: string | undefined) {
    this.digest = secret === undefined ? null : digestOf(secret);
  }

  /** What speaks against any request at all; null when nothing does. */
  refuseAnywhere({ method, headers }: IncomingMessage): Problem | null {
    if (method === 'TRACE' || method === 'TRACK' || method === 'CONNECT') {
      return new Problem('method_not_allowed', `${method} is not answered here.`, {
        allow: 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT',
      });
    }
    if (this.digest === null && !isLoopbackName(headers.host ?? '')) {
      return new Problem(
        'forbidden',
        'This node serves loopback alone. Call it as 127.0.0.1 or localhost, or give all nodes a P2P_SECRET.',
      );
    }
    return null;
  }

  /** What speaks against a request to the mesh; null when nothing does. */
  refuseInMesh({ headers }: IncomingMessage): Problem | null {
    if (this.digest === null) return foreignOrigin(headers.origin);
    const [, given] = /^Bearer +(.+)$/i.exec(headers.authorization ?? '') ?? [];
    // Digests have one length, so that the comparison's time tells nothing of the secret.
    if (given !== undefined && timingSafeEqual(digestOf(given), this.digest)) return null;
    return new Problem(
      'unauthorized',
      'Send the secret of this mesh as "Authorization: Bearer <secret>". Its nodes all have the same P2P_SECRET.',
    );
  }
}

/** A page of another site can send requests to loopback from its visitor's browser; it cannot hide that it is another site. */
function foreignOrigin(origin: string | undefined): Problem | null {
  if (origin === undefined) return null;
  const local = URL.canParse(origin) && isLoopbackName(new URL(origin).host);
  return local ? null : new Problem('forbidden', 'Pages of other sites may not call this node.');
}

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
