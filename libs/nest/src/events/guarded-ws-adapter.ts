import type { INestApplicationContext } from '@nestjs/common';
import { WsAdapter } from '@nestjs/platform-ws';
import type { IncomingMessage } from 'node:http';
import type { ServerOptions, VerifyClientCallbackAsync } from 'ws';
import { Doorkeeper } from '../http/doorkeeper';

/** WebSockets behind the same door as HTTP: an upgrade that is refused is answered with the status, before there is a socket. */
export class GuardedWsAdapter extends WsAdapter {
  constructor(
    app: INestApplicationContext,
    private readonly doorkeeper: Doorkeeper,
  ) {
    super(app);
  }

  override create(port: number, options: ServerOptions & { namespace?: string; server?: object }): unknown {
    const verifyClient: VerifyClientCallbackAsync = ({ req }, done) => this.verify(req, done);
    return super.create(port, { ...options, verifyClient } as never);
  }

  private verify(request: IncomingMessage, done: (accepted: boolean, status?: number, message?: string) => void): void {
    const refusal = this.doorkeeper.refuseAnywhere(request) ?? this.doorkeeper.refuseInMesh(request);
    if (refusal) done(false, refusal.status, refusal.message);
    else done(true);
  }
}
