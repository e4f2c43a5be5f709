import { type OnGatewayConnection, WebSocketGateway } from '@nestjs/websockets';
import { type MeshEvent } from '@pgmesh/sync';
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { MeshNode } from '../node/mesh-node';
import { passedOn } from '../p2p/leader.middleware';
import { EventFilter } from './event-filter';

/** A client that reads slower than things happen is let go rather than buffered for, in bytes. */
const mostBuffered = 1024 * 1024;
const goingAway = 1001;
const tryAgainLater = 1013;
/** What a client may be told by a close; others stand for a connection that broke off. */
const tellable = new Set([1000, goingAway, 1008, 1009, 1011, 1012, tryAgainLater]);

/** `WebSocket /p2p/ws?types=&tables=`: a hello with our node id, then events as they happen. What clients send is not read. */
@WebSocketGateway({ path: '/p2p/ws', maxPayload: 64 * 1024 })
export class EventsGateway implements OnGatewayConnection<WebSocket> {
  constructor(private readonly node: MeshNode) {}

  handleConnection(client: WebSocket, request: IncomingMessage): void {
    const { leader } = this.node;
    if (leader?.url != null) return relay(client, leader.url, request);
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

/** Another process leads, and hears of all that happens: its events are this client's. */
function relay(client: WebSocket, leader: string, { url, headers }: IncomingMessage): void {
  const address = new URL(url ?? '/', leader.replace(/^http/, 'ws'));
  const { authorization } = headers;
  const events = new WebSocket(address, { headers: { [passedOn]: '1', ...(authorization && { authorization }) } });
  events.on('message', (message: Buffer) => {
    if (client.bufferedAmount > mostBuffered) client.close(tryAgainLater, 'The client reads too slowly.');
    else if (client.readyState === WebSocket.OPEN) client.send(message.toString());
  });
  events.once('close', (code, reason) => client.close(tellable.has(code) ? code : tryAgainLater, reason));
  events.once('error', () => client.close(tryAgainLater, 'The process that leads does not answer.'));
  client.once('close', () => events.close());
}
