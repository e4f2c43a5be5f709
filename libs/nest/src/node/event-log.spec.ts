import type { LoggerService } from '@nestjs/common';
import type { MeshEvent } from '@pgmesh/sync';
import { EventLog } from './event-log';

const log = { log: jest.fn(), warn: jest.fn(), debug: jest.fn(), error: jest.fn() } satisfies LoggerService;
beforeEach(() => jest.clearAllMocks());

const differ = (differences: readonly unknown[]) =>
  ({ type: 'rules_differ', peer: 'b', differences, at: '', node_id: 'a' }) as unknown as MeshEvent;
const conflict = (strategy: string, open: string | null, table = 'public.t') =>
  ({
    type: 'conflict',
    peer: 'b',
    id: 1,
    table,
    key: {},
    rule: { strategy },
    open,
    at: '',
    node_id: 'a',
  }) as unknown as MeshEvent;

it('rules that differ are a warning, and that they agree again is none', () => {
  const { listener } = new EventLog(log);
  listener(differ([{ table: null, prefix: null, ours: 'manual', theirs: 'last-write-wins' }]));
  listener(differ([]));
  expect(log.warn).toHaveBeenCalledTimes(1);
  expect(log.log).toHaveBeenCalledWith({ msg: 'rules_differ', peer: 'b', differences: [] });
});

it('a rule that cannot decide is a warning, once for each table and reason', () => {
  const { listener } = new EventLog(log);
  listener(conflict('custom', null));
  listener(conflict('manual', 'The rule leaves the decision to people.'));
  expect(log.warn).not.toHaveBeenCalled();
  for (let row = 0; row < 100; row++) listener(conflict('custom', 'The resolver threw: no.'));
  listener(conflict('custom', 'The resolver threw: no.', 'public.other'));
  listener(conflict('custom', 'The resolver threw: never.'));
  expect(log.warn).toHaveBeenCalledTimes(3);
  expect(log.debug).toHaveBeenCalledTimes(101);
});
