import { transformSync } from '@swc/core';
import { readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { Core } from '../simulation/history';

/** A fault: in one file of libs/core/src, these words in place of those. */
export interface Fault {
  readonly name: string;
  readonly file: string;
  readonly words: string;
  readonly instead: string;
}

const source = join(__dirname, '../../libs/core/src');

/**
 * The core with a fault in it, loaded beside the sound one. The words must be there once, so that a fault does not quietly cease
 * to be one when the code changes.
 */
export function plantedCore(fault: Fault | null): Core {
  const modules = new Map<string, Record<string, unknown>>();
  const load = (file: string): Record<string, unknown> => {
    const known = modules.get(file);
    if (known) return known;
    const exports: Record<string, unknown> = {};
    modules.set(file, exports);
    const text = readFileSync(join(source, file), 'utf8');
    const { code } = transformSync(file === fault?.file ? planted(text, fault) : text, {
      filename: join(source, file),
      sourceMaps: false,
    });
    const relative = (name: string) => load(`${normalize(name)}.ts`);
    new Function('exports', 'require', code)(exports, relative);
    return exports;
  };
  return load('index.ts') as unknown as Core;
}

function planted(text: string, { name, file, words, instead }: Fault): string {
  const parts = text.split(words);
  if (parts.length !== 2) throw new Error(`${name}: "${words}" is ${parts.length - 1} times in ${file}, not once.`);
  return parts.join(instead);
}
