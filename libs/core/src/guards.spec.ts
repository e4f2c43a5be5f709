import { begunAnew, concluded, type Guards, type Mark, meets, takenOver } from './guards';

const mark = (node: string, epoch: string, xmax: bigint): Mark => ({ node, epoch, snapshot: { xmax, xip: [] } });
const self = { node: 'n', epoch: 'e1' };

describe('Guards', () => {
  it('that were taken over before, and have our mark since, are not taken over again', () => {
    const theirs: Guards = [[mark('s', 'e0', 10n)], [mark('r', 'e0', 5n), mark('s', 'e0', 7n)]];
    const ours = concluded(takenOver([], theirs, self), mark('n', 'e1', 20n));
    expect(ours).toHaveLength(2);
    expect(takenOver(ours, theirs, self)).toEqual(ours);
    const later: Guards = [[mark('s', 'e0', 11n)]];
    expect(takenOver(ours, later, self)).toEqual([...ours, ...later]);
  });

  it('are met, in a feed that has begun anew, by who has come to where it began, whatever its transactions were counted before', () => {
    const guards: Guards = [
      [mark('n', 'e0', 1_000n)],
      [mark('s', 'e0', 10n), mark('n', 'e0', 900n)],
      [mark('s', 'e0', 30n)],
    ];
    const anew = begunAnew(guards, { node: 'n', epoch: 'e0' }, mark('n', 'e1', 5n));
    const known = (xmax: bigint) => ({ n: { cursor: mark('n', 'e1', xmax), tables: ['t'] } });
    expect(meets(known(5n), anew.slice(0, 2), 't')).toBe(true);
    expect(meets(known(4n), anew.slice(0, 1), 't')).toBe(false);
    expect(anew[2]).toEqual(guards[2]);
  });
});
