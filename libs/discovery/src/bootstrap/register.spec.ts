import fc from 'fast-check';
import { Register, type Registration } from './register';

const lease = 100;
const who = (nodeId: string, instance = 'i', room = 'r') => ({ room, nodeId, instance });
const names = (register: Register, room = 'r') => register.members(room).map(({ nodeId }) => nodeId);

describe('the register', () => {
  it('holds a member for a lease, and for another with each renewal', () => {
    const register = new Register(lease);
    expect(register.reg({ ...who('a'), urls: ['http://A:80/'] }, 0)).toEqual({ ok: true, what: 'new' });
    expect(register.members('r')).toMatchObject([{ nodeId: 'a', urls: ['http://a'], joined: false, until: 100 }]);
    expect(register.expire(99)).toBe(0);
    expect(register.reg({ ...who('a'), urls: ['http://a'] }, 99)).toEqual({ ok: true, what: 'renewed' });
    expect(register.expire(198)).toBe(0);
    expect(register.expire(199)).toBe(1);
    expect(register.rooms()).toEqual([]);
  });

  it('keeps rooms apart', () => {
    const register = new Register(lease);
    for (const room of ['r', 's']) register.reg({ ...who('a', room, room), urls: [] }, 0);
    register.unreg(who('a', 's', 's'));
    expect(names(register)).toEqual(['a']);
    expect(names(register, 's')).toEqual([]);
  });

  it('lets a process that was started again replace the one before, whose goodbye then comes too late', () => {
    const register = new Register(lease);
    register.reg({ ...who('a', 'old'), urls: [] }, 0);
    register.join(who('a', 'old'));
    expect(register.reg({ ...who('a', 'new'), urls: [] }, 1)).toEqual({ ok: true, what: 'changed' });
    expect(register.find('r', 'a')).toMatchObject({ instance: 'new', joined: false });
    expect(register.leave(who('a', 'old'))).toBe(false);
    expect(register.unreg(who('a', 'old'))).toBe(false);
    expect(register.join(who('a', 'old'))).toBe('unknown');
    expect(register.join(who('a', 'new'))).toBe('joined');
    expect(register.join(who('a', 'new'))).toBe('again');
    expect(register.leave(who('a', 'new'))).toBe(true);
    expect(register.unreg(who('a', 'new'))).toBe(true);
  });

  it.each([
    [who('<script>'), [], 'name'],
    [who('a', 'i', 'a b'), [], 'name'],
    [who('a'), ['http://169.254.169.254'], 'url'],
    [who('a'), ['http://me:secret@host'], 'url'],
    [who('a'), ['file:///etc/passwd'], 'url'],
  ])('refuses %j with addresses %j', (lessee, urls, reason) => {
    const register = new Register(lease);
    expect(register.reg({ ...lessee, urls }, 0)).toMatchObject({ ok: false, reason });
    expect(register.all()).toEqual([]);
  });

  it('is bounded: newcomers are refused when it is full, renewals are not, and leases that have ended make room', () => {
    const register = new Register(lease, { inRoom: 2, inAll: 3 });
    const reg = (nodeId: string, room: string, now: number) =>
      register.reg({ ...who(nodeId, 'i', room), urls: [] }, now);
    expect([reg('a', 'r', 0), reg('b', 'r', 50)].every(({ ok }) => ok)).toBe(true);
    expect(reg('c', 'r', 60)).toMatchObject({ ok: false, reason: 'full' });
    expect(reg('b', 'r', 60).ok).toBe(true);
    expect(reg('c', 's', 60).ok).toBe(true);
    expect(reg('d', 't', 60)).toMatchObject({ ok: false, reason: 'full' });
    expect(reg('d', 'r', 100).ok).toBe(true);
    expect(names(register)).toEqual(['b', 'd']);
  });

  it('gives each lease anew when it is restored, and leaves out what it would not take', () => {
    const register = new Register(lease);
    const kept = (nodeId: string, joined: boolean): Registration => ({ ...who(nodeId), urls: ['http://h'], joined });
    register.restore([kept('a', true), kept('b', false), kept('<b>', true)], 1_000);
    expect(register.members('r')).toMatchObject([
      { nodeId: 'a', joined: true, until: 1_100 },
      { nodeId: 'b', joined: false, until: 1_100 },
    ]);
  });

  it('is, after any history, what a plain list of the last words would be', () => {
    const step = fc.record({
      what: fc.constantFrom('reg', 'unreg', 'join', 'leave', 'pass'),
      room: fc.constantFrom('r', 's'),
      nodeId: fc.constantFrom('a', 'b', 'c'),
      instance: fc.constantFrom('1', '2'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const register = new Register(lease);
        const model = new Map<string, { instance: string; joined: boolean; until: number }>();
        let now = 0;
        for (const { what, ...lessee } of steps) {
          const key = `${lessee.room}/${lessee.nodeId}`;
          const held = model.get(key);
          const ours = held?.instance === lessee.instance ? held : undefined;
          if (what === 'pass') now += 40;
          for (const [one, { until }] of model) if (what === 'pass' && until <= now) model.delete(one);
          if (what === 'pass') register.expire(now);
          else if (what === 'reg') {
            register.reg({ ...lessee, urls: [] }, now);
            model.set(key, { instance: lessee.instance, joined: ours?.joined ?? false, until: now + lease });
          } else if (what === 'unreg') {
            register.unreg(lessee);
            if (ours) model.delete(key);
          } else {
            register[what](lessee);
            if (ours) ours.joined = what === 'join';
          }
          const members = register
            .all()
            .map(({ room, nodeId, instance, joined, until }) => [`${room}/${nodeId}`, { instance, joined, until }]);
          expect(Object.fromEntries(members)).toEqual(Object.fromEntries(model));
        }
      }),
    );
  });
});
