import type { Knowledge, Position } from '@pgmesh/core';
import {
  fromWireKnowledge,
  fromWirePosition,
  parseBody,
  problemFromDocument,
  toWireKnowledge,
  toWirePosition,
  windowRequestSchema,
  wirePositionSchema,
} from './exchange';
import { Problem } from './problem';

const position: Position = {
  epoch: 'e1',
  tables: ['public.a'],
  snapshot: { xmax: 9_007_199_254_740_993n, xip: [7n, 8n] },
  complete: { xmax: 9_007_199_254_740_993n, xip: [9_007_199_254_740_992n] },
  reached: { xmax: 9_007_199_254_740_999n, xip: [] },
  copy: { tables: ['public.b'], since: { xmax: 12n, xip: [] }, next: { table: 'public.b', after: ['1', 'é"\\'] } },
  left: { 'public.c': { xmax: 9n, xip: [5n] } },
};

it('positions and knowledge come out of JSON as they went in', () => {
  const json: unknown = JSON.parse(JSON.stringify(toWirePosition(position)));
  expect(fromWirePosition(parseBody(wirePositionSchema, json, 'position'))).toEqual(position);
  expect(fromWirePosition(toWirePosition(null))).toBeNull();
  const knowledge: Knowledge = { b: { cursor: { epoch: 'e2', snapshot: position.snapshot }, tables: ['public.a'] } };
  expect(fromWireKnowledge(JSON.parse(JSON.stringify(toWireKnowledge(knowledge))))).toEqual(knowledge);
});

it('a refusal comes back as the refusal that it was', () => {
  const problem = new Problem('gap', 'Go on from there.', { position: toWirePosition(position) });
  const back = problemFromDocument(JSON.parse(JSON.stringify(problem.toDocument('/p2p/notify-changes'))));
  expect(back).toMatchObject({ code: 'gap', message: 'Go on from there.', extra: { position: { epoch: 'e1' } } });
  expect(problemFromDocument({ code: 'constructor' })).toBeNull();
  expect(problemFromDocument('<html>')).toBeNull();
});

it.each([
  ['no JSON object', null, /./],
  ['a negative limit', { limit: -1 }, /"limit"/],
  ['a limit without bounds', { limit: 1e9 }, /"limit"/],
  ['a wait that is too long', { wait: 61 }, /"wait"/],
  ['a tampered position', { from: '1:2' }, /"from"/],
  ['a window without a position', { from: null }, /"from"/],
])('a request with %s is refused by name', (_, wrong, named) => {
  const right = { protocol: 1, node_id: 'a', epoch: 'e1', tables: ['public.a'], kind: 'window', from: '5:', at: null };
  const whole = { ...right, whole: [], limit: 10, wait: 0, knowledge: {}, seen: {}, links: [] };
  expect(parseBody(windowRequestSchema, whole, 'request')).toEqual(whole);
  const body = wrong && { ...whole, ...wrong };
  expect(() => parseBody(windowRequestSchema, body, 'request')).toThrow(named);
});
