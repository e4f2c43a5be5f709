import { Problem } from '@pgmesh/wire';
import { isShapeChange, type Shapes } from './shapes';
import { ShapeChanged, type TableShape } from './table-shape';

export type PresentShapes = Pick<Shapes, 'get' | 'refresh'>;

/** Once more with the table as it has become, when it is not what it was (trap 32). */
export async function asItIs<T>(
  shapes: PresentShapes,
  shape: TableShape,
  work: (shape: TableShape) => Promise<T>,
): Promise<T> {
  try {
    return await work(shape);
  } catch (error) {
    if (!isAltered(error)) throw error;
    await shapes.refresh();
    const present = shapes.get(shape.name);
    if (!present) throw new Problem('not_found', `${shape.name} is not shared any more.`, {}, { cause: error });
    if (present.fingerprint === shape.fingerprint) throw error;
    // The key that was asked for is one of the former columns.
    if (present.key.length !== shape.key.length) {
      const text = `The primary key of ${shape.name} has just been changed. Nothing was read or written; ask by the new one.`;
      throw new Problem('busy', text, { table: shape.name }, { cause: error });
    }
    return work(present);
  }
}

function isAltered(error: unknown): boolean {
  if (error instanceof ShapeChanged) return true;
  if (error instanceof Problem) return error.code === 'busy';
  return isShapeChange((error as { code?: string }).code, String(error));
}
