import { constraintsDigest, type DigestedForm, formDigest } from '@pgmesh/core';
import type { Pool } from 'pg';
import { readingBeside } from './database';
import { type Constraints, noConstraints, readConstraints } from './parking/constraints';
import { readDefinitions } from './parking/definitions';
import { readShapes, type TableShape } from './table-shape';

/** The shared tables as we last saw them; one that lost its primary key is left out until it has one. Read anew when a query finds that one has changed (trap 32). */
export class Shapes {
  private byName: ReadonlyMap<string, TableShape> = new Map();
  private told: ReadonlyMap<string, DigestedForm> = new Map();
  private readonly listeners = new Set<() => void>();
  private between: Constraints = noConstraints;

  constructor(private readonly pool: Pool) {}

  async refresh(): Promise<void> {
    const { read, constraints, definitions } = await readingBeside(this.pool, async (client) => ({
      read: await readShapes(client),
      constraints: await readConstraints(client),
      definitions: await readDefinitions(client),
    }));
    const shapes = read.filter(({ key }) => key.length > 0);
    this.between = constraints;
    this.byName = new Map(shapes.map((shape) => [shape.name, shape]));
    const told = new Map(shapes.map((shape) => [shape.name, digested(shape, definitions.get(shape.id) ?? [])]));
    if (JSON.stringify([...told]) === JSON.stringify([...this.told])) return;
    this.told = told;
    for (const listener of [...this.listeners]) listener();
  }

  /** What peers are told of the tables, by name; another map whenever one of them has become another. */
  get forms(): ReadonlyMap<string, DigestedForm> {
    return this.told;
  }

  /** Calls back when `forms` is another. Returns what ends that. */
  onForms(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** The constraints between rows, as we last saw them. */
  get constraints(): Constraints {
    return this.between;
  }

  get all(): readonly TableShape[] {
    return [...this.byName.values()];
  }

  get names(): readonly string[] {
    return [...this.byName.keys()];
  }

  get(name: string): TableShape | undefined {
    return this.byName.get(name);
  }

  /** By a name as people write it: `products`, `public.products`, `shop.My Table`. Compared with names, never used as one. */
  find(text: string): TableShape | undefined {
    return (
      this.byName.get(text) ??
      this.all.find(({ schema, table }) => `${schema}.${table}` === text || (schema === 'public' && table === text))
    );
  }
}

function digested({ form }: TableShape, constraints: readonly string[]): DigestedForm {
  return { form, digest: formDigest(form), constraints, constraintsDigest: constraintsDigest(constraints) };
}

/** SQLSTATEs that mean that a table is not what it was when the statement was made: look again, then try again. */
export function isShapeChange(state: string | undefined, message: string): boolean {
  if (state === '0A000') return message.includes('cached plan');
  return state === '42703' || state === '42P01' || state === '42883' || state === '42804';
}
