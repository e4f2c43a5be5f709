import { type Turn, Turnstile } from './turnstile';

const { signal } = new AbortController();
const patience = { ms: 60_000, gather: 20 };

describe('The turnstile of first copies', () => {
  it('lets the source with the least to do go first, and the others one by one', async () => {
    const turnstile = new Turnstile();
    const order: string[] = [];
    const copy = async (peer: string, load: number) => {
      const turn = await turnstile.pass(peer, { load, ...patience }, signal);
      order.push(`${peer} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${peer} ends`);
      turn.leave();
    };
    await Promise.all([copy('busy', 2), copy('full', 1_000), copy('idle', 0.1)]);
    expect(order).toEqual(['idle begins', 'idle ends', 'busy begins', 'busy ends', 'full begins', 'full ends']);
  });

  it('keeps nobody longer than it would wait, and lets the next one in when all have left', async () => {
    const turnstile = new Turnstile();
    const first = await turnstile.pass('a', { load: 0, ...patience }, signal);
    const impatient = await turnstile.pass('b', { load: 0, ms: 5, gather: 0 }, signal);
    let third: Turn | null = null;
    const passed = turnstile.pass('c', { load: 0, ...patience }, signal).then((turn) => (third = turn));
    first.leave();
    await new Promise((resolve) => setImmediate(resolve));
    expect(third).toBeNull();
    impatient.leave();
    await passed;
    expect(third).not.toBeNull();
  });

  it('goes on waiting as long as rows come to who is before', async () => {
    jest.useFakeTimers();
    try {
      const turnstile = new Turnstile();
      const entered = turnstile.pass('a', { load: 0, ms: 1_000, gather: 0 }, signal);
      await jest.advanceTimersByTimeAsync(1);
      const first = await entered;
      let isIn = false;
      void turnstile.pass('b', { load: 0, ms: 1_000, gather: 0 }, signal).then(() => (isIn = true));
      for (let i = 0; i < 5; i += 1) {
        await jest.advanceTimersByTimeAsync(900);
        first.bringsRows();
      }
      expect(isIn).toBe(false);
      await jest.advanceTimersByTimeAsync(2_000);
      expect(isIn).toBe(true);
    } finally {
      jest.useRealTimers();
    }
  });

  it('goes on when somebody who waited was ended', async () => {
    const turnstile = new Turnstile();
    const ending = new AbortController();
    const first = await turnstile.pass('a', { load: 0, ...patience }, signal);
    const second = turnstile.pass('b', { load: 0, ...patience }, ending.signal);
    ending.abort();
    (await second).leave();
    first.leave();
    (await turnstile.pass('c', { load: 0, ...patience }, signal)).leave();
  });

  it('tells while rows come in bulk, and holds up who would begin to copy from here', async () => {
    const turnstile = new Turnstile();
    const turn = await turnstile.pass('a', { load: 0, ...patience }, signal);
    expect(turnstile.bringsRows).toBe(false);
    turn.bringsRows();
    expect(turnstile.bringsRows).toBe(true);
    let isSettled = false;
    const settled = turnstile.settled('b', 60_000, signal).then(() => (isSettled = true));
    await turnstile.settled('a', 60_000, signal);
    expect(isSettled).toBe(false);
    turn.leave();
    await settled;
    expect(turnstile.bringsRows).toBe(false);
  });
});
