import { type Frame, FrameError, Problem, protocolVersion, type WindowFrame } from '@pgmesh/wire';

export async function expectHead(source: AsyncIterator<Frame>, nodeId: string): Promise<WindowFrame> {
  const { value: head, done } = await source.next();
  if (done || head.type !== 'window') throw new FrameError('A window starts with its head');
  if (head.protocol !== protocolVersion) {
    throw new Problem(
      'other_protocol',
      `The sender speaks protocol ${head.protocol}, this node ${protocolVersion}. Run the same version of pgmesh.`,
    );
  }
  if (head.node === nodeId) {
    throw new Problem(
      'other_node',
      `The window comes from a node that has the name of this one, ${nodeId}. Give each its own NODE_ID.`,
    );
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(head.node) || !/^[0-9a-z]{1,32}$/.test(head.epoch)) {
    throw new Problem('bad_request', 'The window comes from a node that has no valid name or epoch.');
  }
  return head;
}

/** The bytes of a COPY, up to its closing frame, which is left in `copied`. */
export async function* dataOf(
  source: AsyncIterator<Frame>,
  copied: { frame?: Frame & { type: 'copied' } },
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value: frame, done } = await source.next();
    if (done) throw new FrameError('The window was cut off inside a table');
    if (frame.type === 'data') yield frame.bytes;
    else if (frame.type === 'copied') {
      copied.frame = frame;
      return;
    } else throw new FrameError(`A frame "${frame.type}" stands inside a table`);
  }
}
