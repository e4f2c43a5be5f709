import fc from 'fast-check';
import { bigInteger, boolean, type Decoder, decoded, float, integer, json } from './decoded';
import type { ResolverSide } from './resolver';

const side = (value: ResolverSide['value']): ResolverSide => ({ value, stamp: 1, origin: 'a~1', vector: { 'a~1': 1 } });

describe('decoded', () => {
  it('gives a resolver values and takes values back', () => {
    const stock = decoded({ qty: integer, sold: bigInteger, open: boolean, doc: json }, (_key, a, b) => ({
      ...b.value!,
      qty: a.value!.qty! + b.value!.qty!,
      sold: a.value!.sold! + 1n,
      open: !b.value!.open,
      doc: { merged: [a.value!.doc, b.value!.doc] },
    }));
    const a = { id: '1', price: '1.50', qty: '2', sold: '90071992547409930', open: 't', doc: '{"x": 1}' };
    const b = { id: '1', price: '2.50', qty: '3', sold: '0', open: 'f', doc: 'null' };
    expect(stock(['1'], side(a), side(b))).toEqual({
      id: '1',
      price: '2.50',
      qty: '5',
      sold: '90071992547409931',
      open: 't',
      doc: '{"merged":[{"x":1},null]}',
    });
  });

  it('keeps the very text of what a resolver left as it was, and of deletions', () => {
    const newest = decoded({ n: float, doc: json }, (_key, _a, b) => b.value);
    const image = { id: '1', n: '1e+20', doc: '{"a": 1.00}', x: null };
    expect(newest(['1'], side(null), side(image))).toEqual(image);
    expect(newest(['1'], side(image), side(null))).toBeNull();
  });

  it('refuses what cannot be held exactly', () => {
    expect(() => integer.decode('9007199254740993')).toThrow(RangeError);
    expect(() => integer.encode(0.5)).toThrow(RangeError);
    expect(() => boolean.decode('yes')).toThrow(TypeError);
    expect(() => json.encode(undefined)).toThrow(TypeError);
  });

  it('brings every value back', () => {
    const same = <Value>(decoder: Decoder<Value>, value: Value) =>
      expect(decoder.decode(decoder.encode(value))).toEqual(value);
    fc.assert(fc.property(fc.maxSafeInteger(), (value) => same(integer, value)));
    fc.assert(fc.property(fc.bigInt(), (value) => same(bigInteger, value)));
    fc.assert(fc.property(fc.double(), (value) => same(float, value)));
    fc.assert(fc.property(fc.boolean(), (value) => same(boolean, value)));
    fc.assert(fc.property(fc.jsonValue(), (value) => same(json, JSON.parse(JSON.stringify(value)))));
  });
});
