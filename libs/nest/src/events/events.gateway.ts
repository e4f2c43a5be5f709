import { type OnGatewayConnection, WebSocketGateway } from '@nestjs/websockets';
import { type MeshEvent } from '@pgmesh/sync';
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { MeshNode } from '../node/mesh-node';
import { EventFilter } from './event-filter';

/** A client that reads slower than things happen is let go rather than buffered for, in bytes. */
const mostBuffered = 1024 * 1024;
const goingAway = 1001;
const tryAgainLater = 1013;

/** `WebSocket /p2p/ws?types=&tables=`: a hello with our node id, then events as they happen. What clients send is not read. */
@WebSocketGateway({ path: '/p2p/ws', maxPayload: 64 * 1024 })
export class EventsGateway implements OnGatewayConnection<WebSocket> {
  constructor(private readonly node: MeshNode) {}

  handleConnection(client: WebSocket, request: IncomingMessage): void {
    let running;
    try {
      ({ running } = this.node);
    } catch (error) {
      client.close(tryAgainLater, error instanceof Error ? error.message : undefined);
      return;
    }
    const { store, mesh, stopping } = running;
    const filter = new EventFilter(new URL(request.url ?? '/', 'ws://node').searchParams);
    const send = (message: object): void => {
      if (client.bufferedAmount > mostBuffered) client.close(tryAgainLater, 'The client reads too slowly.');
      else if (client.readyState === WebSocket.OPEN) client.send(JSON.stringify(message));
    };
    send({ type: 'hello', node_id: store.identity.nodeId, at: new Date().toISOString(), tables: store.tables() });
    const end = mesh.events.on((event: MeshEvent) => {
      if (filter.wants(event)) send(event);
    });
    const leave = (): void => client.close(goingAway, 'The node is stopping.');
    stopping.addEventListener('abort', leave);
    client.once('close', () => {
      end();
      stopping.removeEventListener('abort', leave);
    });
  }
}
