import { Problem } from '@pgmesh/wire';

/**
 * A connection whose other end has silently gone shows itself only by nothing happening. Each exchange holds a connection to
 * the database, a window even a snapshot: what does not move for P2P_TIMEOUT is given up (trap 41). The time that we take
 * ourselves does not count.
 */

/** The pieces as they are asked for. @throws Problem `request_timeout` when one does not come within so many ms */
export function arriving<T>(pieces: AsyncIterator<T>, ms: number): AsyncIterator<T> {
  return {
    next() {
      let timer: NodeJS.Timeout;
      const late = new Promise<never>((_, reject) => {
        const detail = `Nothing came for ${ms} ms in the middle of the body (P2P_TIMEOUT). Send it again.`;
        timer = setTimeout(() => reject(new Problem('request_timeout', detail)), ms);
      });
      return Promise.race([pieces.next(), late]).finally(() => clearTimeout(timer));
    },
  };
}

/** The pieces as they are taken; one that is not taken within so many ms is told. */
export async function* leaving<T>(pieces: AsyncIterable<T>, ms: number, stuck: () => void): AsyncGenerator<T> {
  for await (const piece of pieces) {
    const timer = setTimeout(stuck, ms);
    try {
      yield piece;
    } finally {
      clearTimeout(timer);
    }
  }
}
