import { World } from './world';

const scenario = { nodes: 60, links: 6, loss: 0, churn: 0, changes: 60, writers: 4, seed: 1 };

describe('a simulated mesh of 60 nodes with six links each', () => {
  it('brings every change to every node, about once, within a few hops', () => {
    const { converged, rows, arrivals, links } = new World(scenario).run();
    expect(converged).toBe(true);
    expect(arrivals).toHaveLength(60 * 59);
    expect(rows).toBeGreaterThanOrEqual(1);
    expect(rows).toBeLessThan(1.6);
    expect(Math.max(...arrivals.map(({ hops }) => hops))).toBeLessThanOrEqual(8);
    expect(links.most).toBeLessThanOrEqual(6);
  });

  it.each([1, 2, 3])('converges while messages are lost and nodes come and go, seed %i', (seed) => {
    expect(new World({ ...scenario, loss: 0.05, churn: 0.2, seed }).run().converged).toBe(true);
  });

  it('is the same for the same seed', () => {
    const told = (): unknown => new World({ ...scenario, loss: 0.05, churn: 0.2, seed: 7 }).run();
    expect(told()).toEqual(told());
  });
});
