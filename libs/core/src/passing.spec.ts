import * as fc from 'fast-check';
import type { Member } from './members';
import { endsConflicts } from './passing';

const member = (nodeId: string, tables: readonly string[], evicted = false): Member => ({
  nodeId,
  epoch: 'e',
  tables,
  firstSeen: 0,
  lastSeen: 0,
  claim: null,
  evicted: evicted ? { at: 1, by: 'x' } : null,
  term: 0,
});

const meshes = fc.uniqueArray(
  fc.record({ id: fc.stringMatching(/^[a-c][0-9]$/), shares: fc.boolean(), evicted: fc.boolean() }),
  { selector: ({ id }) => id, minLength: 1, maxLength: 8 },
);

it('the conflicts of a table are ended by one of those who share it and are waited for', () => {
  fc.assert(
    fc.property(meshes, (mesh) => {
      const members = mesh.map(({ id, shares, evicted }) => member(id, shares ? ['t'] : ['u'], evicted));
      const waitedFor = mesh.filter(({ shares, evicted }) => shares && !evicted).map(({ id }) => id);
      const ending = waitedFor.filter((nodeId) => endsConflicts({ nodeId, epoch: 'e' }, members, 't'));
      expect(ending).toEqual(waitedFor.toSorted().slice(0, 1));
    }),
  );
});
