import { columnStamp, fieldsOfWrite, hasSeen, keyStamp, soundFields } from './field-stamps';
import { mergeFields } from './merge-fields';
import type { RowImage, RowVersion } from './row-version';

const jsonb = new Set(['doc']);

function version(origin: string, stamp: number, image: RowImage | null, over?: Partial<RowVersion>): RowVersion {
  return { stamp, origin, priority: 0, past: {}, deleted: image === null, image, ...over };
}

/** A write of `origin` over one version. */
function after(before: RowVersion, origin: string, stamp: number, image: RowImage | null): RowVersion {
  const past = { ...before.past, [before.origin]: before.stamp };
  const fields = fieldsOfWrite(before, image, jsonb);
  return version(origin, stamp, image, { past, ...(fields && { fields }) });
}

const first = version('a', 1, { id: '1', qty: '5', name: 'x', doc: '{"k": 1.0, "l": 2}' });

describe('merge-fields', () => {
  it('lets the changes of both stand that changed different columns', () => {
    const b = after(first, 'b', 5, { ...first.image, qty: '6' });
    const c = after(first, 'c', 7, { ...first.image, name: 'y' });
    const { image, main, fields } = mergeFields([b, c], jsonb);
    expect(image).toEqual({ id: '1', qty: '6', name: 'y', doc: '{"k": 1.0, "l": 2}' });
    expect(main).toBe(c);
    expect(fields).toEqual({ id: { at: [1, 'a'] }, qty: { at: [5, 'b'] }, doc: { at: [1, 'a'] } });
  });

  it('lets the changes of both stand that changed different keys, and keeps the digits of the others', () => {
    const b = after(first, 'b', 5, { ...first.image, doc: '{"k": 1.00, "l": 2}' });
    const c = after(first, 'c', 7, { ...first.image, doc: '{"k": 1.0, "l": 2, "new": 12345678901234567890}' });
    expect(b.fields?.doc).toEqual({ keys: { l: [1, 'a'] } });
    const { image, fields } = mergeFields([b, c], jsonb);
    expect(image?.doc).toBe('{"k": 1.00, "l": 2, "new": 12345678901234567890}');
    expect(fields?.doc).toEqual({ keys: { k: [5, 'b'], l: [1, 'a'] } });
  });

  it('keeps a removed key away, unless somebody wrote it meanwhile', () => {
    const removes = after(first, 'b', 9, { ...first.image, doc: '{"l": 2}' });
    const elsewhere = after(first, 'c', 5, { ...first.image, doc: '{"k": 1.0, "l": 3}' });
    expect(mergeFields([elsewhere, removes], jsonb).image?.doc).toBe('{"l": 3}');
    const there = after(first, 'c', 5, { ...first.image, doc: '{"k": 8, "l": 2}' });
    expect(mergeFields([there, removes], jsonb).image?.doc).toBe('{"k": 8, "l": 2}');
  });

  it('merges the keys of documents that were made apart', () => {
    const [b, c] = [
      version('b', 5, { id: '1', doc: '{"b": 1, "x": 1}' }),
      version('c', 6, { id: '1', doc: '{"c": 2, "x": 2}' }),
    ];
    expect(mergeFields([b, c], jsonb).image?.doc).toBe('{"b": 1, "c": 2, "x": 2}');
    expect(mergeFields([b, c], new Set()).image?.doc).toBe('{"c": 2, "x": 2}');
  });

  it('takes a column as one value when its newest write is no object', () => {
    const b = after(first, 'b', 9, { ...first.image, doc: null });
    const c = after(first, 'c', 5, { ...first.image, doc: '{"k": 7, "l": 2}' });
    expect(mergeFields([c, b], jsonb).image?.doc).toBeNull();
    const d = after(first, 'd', 10, { ...first.image, doc: '{"k": 1.0, "l": 9}' });
    expect(mergeFields([c, b, d], jsonb).image?.doc).toBe('{"k": 7, "l": 9}');
  });

  it('lets an update stand against a deletion, be it the later of the two, and a deletion against a deletion', () => {
    const update = after(first, 'b', 5, { ...first.image, qty: '6' });
    const deletion = after(first, 'c', 7, null);
    expect(mergeFields([update, deletion], jsonb)).toEqual({
      image: update.image,
      main: update,
      fields: update.fields,
    });
    const other = after(first, 'd', 8, null);
    expect(mergeFields([deletion, other], jsonb)).toEqual({ image: null, main: other, fields: null });
  });

  it('hears nothing about a column from a version whose writer lacked it', () => {
    const b = version('b', 5, { id: '1', qty: '6' });
    const c = version('c', 7, { id: '1', name: 'y' });
    expect(mergeFields([b, c], jsonb).image).toEqual({ id: '1', qty: '6', name: 'y' });
  });

  it('is not led astray by names that every object has', () => {
    const image = JSON.parse(
      '{"id": "1", "__proto__": "x", "doc": "{\\"__proto__\\": 1, \\"constructor\\": 2}"}',
    ) as RowImage;
    const base = version('a', 1, image);
    const write = after(base, 'b', 5, { ...image, doc: '{"__proto__": 1, "constructor": 3}' });
    expect(columnStamp(write, '__proto__')).toEqual([1, 'a']);
    expect(columnStamp(write, 'constructor')).toEqual([5, 'b']);
    expect(keyStamp(write, 'doc', '__proto__')).toEqual([1, 'a']);
    expect(keyStamp(write, 'doc', 'constructor')).toEqual([5, 'b']);
    const other = after(base, 'c', 6, { ...image, doc: '{"__proto__": 9, "constructor": 2}' });
    expect(mergeFields([write, other], jsonb).image?.doc).toBe('{"__proto__": 9, "constructor": 3}');
  });
});

describe('Field stamps', () => {
  it('are absent where a write made or changed everything', () => {
    expect(fieldsOfWrite(null, first.image, jsonb)).toBeNull();
    expect(fieldsOfWrite(version('a', 1, null), first.image, jsonb)).toBeNull();
    expect(fieldsOfWrite(first, null, jsonb)).toBeNull();
    expect(fieldsOfWrite(first, { id: '2', qty: '6', name: 'y', doc: '[]' }, jsonb)).toBeNull();
  });

  it('that a peer made up are told', () => {
    const sound = after(first, 'b', 5, { ...first.image, doc: '{"k": 2, "l": 2}' });
    expect(soundFields(sound)).toBe(true);
    expect(soundFields(first)).toBe(true);
    const claims = (fields: RowVersion['fields']) => soundFields({ ...sound, fields });
    expect(claims({ qty: { at: [5, 'b'] } })).toBe(false);
    expect(claims({ qty: { at: [2, 'a'] } })).toBe(false);
    expect(claims({ qty: { at: [1, 'z'] } })).toBe(false);
    expect(claims({ other: { at: [2, 'a'] } })).toBe(false);
    expect(claims({ doc: { keys: { gone: [2, 'a'] } } })).toBe(false);
    // Of columns that were dropped, renamed or retyped since.
    expect(claims({ other: { at: [1, 'a'] } })).toBe(true);
    expect(claims({ qty: { keys: { k: [1, 'a'] } } })).toBe(true);
    expect(soundFields({ ...sound, image: null })).toBe(false);
  });

  it('name writes that a version has seen: its own, and those of its past', () => {
    const write = version('b', 5, null, { past: { a: 3 } });
    expect(
      [
        [5, 'b'],
        [4, 'b'],
        [3, 'a'],
      ].every((stamp) => hasSeen(write, stamp as [number, string])),
    ).toBe(true);
    expect(
      [
        [6, 'b'],
        [4, 'a'],
        [1, 'c'],
      ].some((stamp) => hasSeen(write, stamp as [number, string])),
    ).toBe(false);
  });
});
