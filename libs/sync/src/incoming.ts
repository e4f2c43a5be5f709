import {
  type Frame,
  FrameError,
  FrameTooLarge,
  fromWireKnowledge,
  fromWireSeen,
  Problem,
  protocolVersion,
  type WindowFrame,
} from '@pgmesh/wire';
import type { NeighbourFacts } from './neighbours';
import type { Identity } from './ports';

/** The frames of a window on their way into the store, with what they tell us of the sender. */
export class Incoming implements AsyncIterable<Frame> {
  /** Who sent it; known once the first frame has passed. */
  head: WindowFrame | null = null;
  /** Settles with the head when the last frame has passed; the store may still be merging then. Null when it never came. */
  readonly arrived: Promise<WindowFrame | null>;
  #arrive!: (head: WindowFrame | null) => void;
  /** What the sender told of itself, as of the window's snapshot; known at its end, before which it need not be durable there. */
  facts: Pick<NeighbourFacts, 'knowledge' | 'seen'> = {};

  constructor(
    private readonly frames: AsyncIterable<Frame>,
    private readonly self: Identity,
    /** Throws when the sender is not to be listened to. */
    private readonly admit: (head: WindowFrame) => void = () => undefined,
  ) {
    this.arrived = new Promise((resolve) => (this.#arrive = resolve));
  }

  /** @throws Problem `bad_request`, `too_large`, `other_protocol`, `other_node` */
  async *[Symbol.asyncIterator](): AsyncGenerator<Frame> {
    try {
      for await (const frame of this.frames) {
        if (this.head === null) this.head = this.#checked(frame);
        if (frame.type === 'end') {
          const { knowledge, seen, held } = this.head;
          this.facts = {
            knowledge: fromWireKnowledge(knowledge),
            // Of what it holds back it has more than it tells here: that it tells in its greetings and answers.
            ...(seen && !held && { seen: fromWireSeen(seen) }),
          };
          this.#arrive(this.head);
        }
        yield frame;
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      const code = error instanceof FrameTooLarge ? 'too_large' : 'bad_request';
      throw new Problem(code, `${error.message}.`, {}, { cause: error });
    } finally {
      this.#arrive(null);
    }
  }

  #checked(frame: Frame): WindowFrame {
    if (frame.type !== 'window') throw new Problem('bad_request', 'A window begins with a frame of type "window".');
    if (frame.protocol !== protocolVersion) throw otherProtocol(frame.protocol);
    if (frame.node === this.self.nodeId) throw otherNode(frame.node);
    this.admit(frame);
    return frame;
  }
}

export function otherProtocol(theirs: number): Problem {
  const detail = `We speak version ${protocolVersion} of the protocol, the other node version ${theirs}. Install the same release on both.`;
  return new Problem('other_protocol', detail, { protocol: protocolVersion });
}

export function otherNode(nodeId: string): Problem {
  const detail = `Another process runs under this node's id, "${nodeId}". Give each node an id and a database of its own.`;
  return new Problem('other_node', detail, { node_id: nodeId });
}
