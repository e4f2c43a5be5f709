import { Instances } from './instances';

/** A peer's processes as they are heard of, by a clock that a test sets. */
function hearing(memory = 90_000) {
  const found: string[] = [];
  const clock = { now: 1_000_000 };
  const instances = new Instances(
    () => clock.now,
    memory,
    (_problem, nodeId) => found.push(nodeId),
  );
  const heard = (instance: string, after = 1_000): boolean => {
    clock.now += after;
    try {
      instances.met({ node_id: 'n', instance });
      return true;
    } catch {
      return false;
    }
  };
  return { clock, found, heard };
}

describe('trap 09: processes of one name', () => {
  it('that follow each other are one node that was started again, however often and quickly', () => {
    const { heard, found } = hearing();
    const lives = Array.from({ length: 50 }, (_, i) => `life ${i}`);
    for (const life of lives) expect([heard(life, 0), heard(life, 0), heard(life, 10)]).toEqual([true, true, true]);
    expect(found).toEqual([]);
  });

  it('that are heard of in turns are two, until one has been silent for a while', () => {
    const { heard, found } = hearing();
    expect(['a', 'b', 'a', 'b', 'a'].map((instance) => heard(instance))).toEqual([true, true, false, false, false]);
    expect(found).toEqual(['n']);
    expect([heard('b', 60_000), heard('b', 60_000)]).toEqual([false, true]);
    expect(found).toEqual(['n']);
  });

  it.each([-3_600_000, 3_600_000])('are told apart by their order, also where the clock steps by %i ms', (step) => {
    const { heard, found } = hearing();
    for (let i = 0; i < 3; i++) expect(heard('before')).toBe(true);
    expect(heard('after', step)).toBe(true);
    for (let i = 0; i < 3; i++) expect(heard('after')).toBe(true);
    expect(found).toEqual([]);
  });
});
