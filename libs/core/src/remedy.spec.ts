import fc from 'fast-check';
import { differ, type HeldRow, type HeldVersion, isSound, remedyOf } from './remedy';

const a = { nodeId: 'a', origin: 'a~1' };
const b = { nodeId: 'b', origin: 'b~1' };

const version = (some: Partial<HeldVersion> = {}): HeldVersion => ({
  stamp: 10,
  origin: 'c~1',
  past: {},
  deleted: false,
  several: false,
  composed: false,
  names: `${some.stamp ?? 10}@${some.origin ?? 'c~1'}`,
  ...some,
});

const row = (some: Partial<HeldRow> = {}): HeldRow => {
  const held = { key: ['1'], value: 'x', version: version(), untouched: false, ...some };
  return { ...held, digest: JSON.stringify([held.value, held.version]) };
};

/** What both sides do. */
const both = (atA: HeldRow, atB: HeldRow) => [remedyOf(atA, atB, a, b), remedyOf(atB, atA, b, a)];

describe('remedyOf', () => {
  it('makes what was written past capture a write, and keeps the row that it went over', () => {
    expect(both(row({ untouched: true }), row({ value: 'y' }))).toEqual(['affirm', 'write']);
    expect(both(row({ value: 'y' }), row({ untouched: true }))).toEqual(['write', 'affirm']);
    expect(both(row(), row({ value: null }))).toEqual(['affirm', 'write']);
    expect(both(row({ value: null, version: null }), row({ version: null }))).toEqual(['none', 'write']);
  });

  it('writes both where it cannot be told which of them was', () => {
    expect(both(row(), row({ value: 'y' }))).toEqual(['write', 'write']);
    expect(both(row({ untouched: true }), row({ value: 'y', untouched: true }))).toEqual(['write', 'write']);
  });

  it('leaves other versions to the merge', () => {
    expect(both(row(), row({ value: 'y', version: version({ stamp: 11 }) }))).toEqual(['none', 'none']);
    expect(both(row(), row({ value: null, version: null }))).toEqual(['none', 'none']);
    expect(both(row(), row({ value: null, version: version({ stamp: 11, deleted: true }) }))).toEqual(['none', 'none']);
  });

  it('lets one of both write a row of which one version says two things', () => {
    const other = { ...row(), digest: 'of another priority' };
    expect(both(row(), other)).toEqual(['write', 'none']);
    expect(both(other, row())).toEqual(['write', 'none']);
  });

  it('leaves to the merge what was added to the past of a version on one side', () => {
    const other = row({ version: version({ past: { 'd~1': 3 } }) });
    expect(both(row(), other)).toEqual(['none', 'none']);
    expect(both(other, row())).toEqual(['none', 'none']);
  });

  it('writes over a version that bears the name of a node that does not know it', () => {
    const known = row({ version: version({ origin: 'a~1' }) });
    expect(both(known, row({ version: version({ origin: 'a~1', stamp: 15 }) }))).toEqual(['none', 'write']);
    const past = row({ version: version({ past: { 'a~1': 15 }, stamp: 20 }) });
    expect(both(past, row({ version: version({ origin: 'a~1', stamp: 15 }) }))).toEqual(['none', 'none']);
  });

  it('leaves alone what rules or constraints make of the same versions', () => {
    const parked = row({ value: null, version: version({ deleted: true, several: true, composed: true }) });
    expect(both(row({ version: version({ several: true }) }), parked)).toEqual(['none', 'none']);
    const composed = version({ several: true, composed: true });
    expect(both(row({ version: composed }), row({ value: 'y', version: composed }))).toEqual(['none', 'none']);
  });

  it('affirms on one side only what the other writes, and never covers a row that is not its own', () => {
    const versions = fc.record({
      stamp: fc.integer({ min: 9, max: 11 }),
      origin: fc.constantFrom('a~1', 'b~1', 'c~1'),
      past: fc.constantFrom<Record<string, number>>({}, { 'a~1': 9 }, { 'b~1': 10 }),
      deleted: fc.boolean(),
      several: fc.boolean(),
      composed: fc.boolean(),
      names: fc.constantFrom('m', 'n'),
    });
    const rows = fc
      .record({
        value: fc.constantFrom(null, 'x', 'y'),
        version: fc.option(versions),
        untouched: fc.boolean(),
      })
      .map(row);
    fc.assert(
      fc.property(rows, rows, (atA, atB) => {
        const [doneA, doneB] = both(atA, atB);
        if (doneA === 'affirm') expect(doneB).toBe('write');
        if (doneB === 'affirm') expect(doneA).toBe('write');
        if (!isSound(atA)) expect(doneA).toBe('write');
        if (atA.digest === atB.digest) expect(differ(atA, atB)).toBe(false);
        expect(differ(atA, atB)).toBe(differ(atB, atA));
      }),
    );
  });
});
