import { Pace } from './pace';

describe('the patience with what others bring', () => {
  it('is the least where exchanges are quick, grows with them, and has an end', () => {
    const pace = new Pace();
    expect(pace.patience(250)).toBe(250);
    pace.took(10);
    expect(pace.patience(250)).toBe(250);
    pace.took(200);
    expect(pace.patience(250)).toBe(800);
    pace.took(60_000);
    expect(pace.patience(250)).toBe(10_000);
  });

  it('comes down little by little', () => {
    const pace = new Pace();
    pace.took(500);
    for (let i = 0; i < 30; i += 1) pace.took(5);
    expect(pace.patience(250)).toBe(250);
  });
});
