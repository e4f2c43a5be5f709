import type { Column } from './table-shape';

/** A text as its type's input function reads it. The cast of text to regclass does something else: it takes names alone. */
export function typed({ type }: Pick<Column, 'type'>, text: string): string {
  return type === 'regclass' ? `regclassin(textout(${text}))` : `${text}::${type}`;
}
