import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Reads a statement of `sql/` and fills its `{{name}}` places; a place without a value is an error, not an empty string. */
export function fillTemplate(file: string, values: Readonly<Record<string, string>>): string {
  const text = readFileSync(join(__dirname, 'sql', file), 'utf8');
  return text.trimEnd().replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${file} has a place {{${name}}} that was given no value`);
    return value;
  });
}
