import { Problem, type ProblemCode, problemCodes } from './problem';

describe('A problem', () => {
  it.each(Object.entries(problemCodes))('called %s has a status of failure and a title', (code, [status, title]) => {
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(title).toMatch(/^[A-Z].*[^.]$/);
    expect(new Problem(code as ProblemCode, 'x').status).toBe(status);
  });

  it('is told as an RFC 9457 document', () => {
    const cause = new Error('password=hunter2');
    const problem = new Problem('gap', 'The window starts at 9: and we stand at 7:', { position: '7:' }, { cause });
    expect(JSON.parse(JSON.stringify(problem.toDocument('/p2p/window')))).toEqual({
      type: 'urn:pgmesh:problem:gap',
      title: 'The window does not connect to our position',
      status: 409,
      detail: 'The window starts at 9: and we stand at 7:',
      instance: '/p2p/window',
      code: 'gap',
      position: '7:',
    });
  });

  it('keeps its own members whatever is added to it', () => {
    const document = new Problem('gap', 'detail', { status: 200, code: 'fine', type: 'about:blank' }).toDocument();
    expect(document).toMatchObject({ status: 409, code: 'gap', type: 'urn:pgmesh:problem:gap' });
    expect(JSON.parse(JSON.stringify(document))).not.toHaveProperty('instance');
  });
});
