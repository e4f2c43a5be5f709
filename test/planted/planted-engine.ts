import { transformSync } from '@swc/core';
import * as fs from 'node:fs';
import * as fsPromises from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

/** These words of a file, by its path from the root, and what stands in their place. */
export interface Slip {
  readonly file: string;
  readonly words: string;
  readonly instead: string;
}

/** A fault of the engine: nearly always one slip. */
export interface EngineFault {
  readonly name: string;
  readonly slips: readonly Slip[];
}

export type Engine = Pick<typeof import('@pgmesh/store'), 'PostgresStore'>;

/** What was compiled before, by its text: nearly all of it is the same with every fault. */
const compiled = new Map<string, string>();
const requireHere = module.require.bind(module);
const root = join(__dirname, '../..');

/**
 * libs/store with a fault in it, its TypeScript, its templates or its migration, loaded beside the sound one. The words must be there
 * once, so that a fault does not quietly cease to be one when the code changes.
 */
export function plantedEngine(fault: EngineFault | null): Engine {
  const modules = new Map<string, Record<string, unknown>>();
  const textOf = (path: string): string => planted(fs.readFileSync(path, 'utf8'), relative(root, path), fault);
  const disk: Record<string, unknown> = {
    'node:fs': { ...fs, readFileSync: textOf },
    'node:fs/promises': { ...fsPromises, readFile: async (path: string) => textOf(path) },
  };
  const load = (path: string): Record<string, unknown> => {
    const known = modules.get(path);
    if (known) return known;
    const exports: Record<string, unknown> = {};
    modules.set(path, exports);
    const code = compile(path, textOf(path));
    const from = (name: string): unknown =>
      name.startsWith('.') ? load(sourceOf(join(dirname(path), name))) : (disk[name] ?? requireHere(name));
    new Function('exports', 'require', '__dirname', code)(exports, from, dirname(path));
    return exports;
  };
  // Templates are read late, and perhaps never: that the words are there is seen to now.
  for (const { file } of fault?.slips ?? []) textOf(join(root, file));
  return load(join(root, 'libs/store/src/postgres-store.ts')) as unknown as Engine;
}

function compile(path: string, text: string): string {
  const known = compiled.get(text);
  if (known !== undefined) return known;
  const { code } = transformSync(text, {
    filename: path,
    swcrc: false,
    configFile: false,
    jsc: { target: 'es2022', parser: { syntax: 'typescript', decorators: true } },
    module: { type: 'commonjs' },
  });
  compiled.set(text, code);
  return code;
}

function sourceOf(path: string): string {
  const file = `${path}.ts`;
  return fs.existsSync(file) ? file : join(path, 'index.ts');
}

function planted(text: string, file: string, fault: EngineFault | null): string {
  return (fault?.slips ?? [])
    .filter((slip) => slip.file === file)
    .reduce((before, { words, instead }) => {
      const parts = before.split(words);
      if (parts.length !== 2) {
        throw new Error(`${fault!.name}: "${words}" is ${parts.length - 1} times in ${file}, not once.`);
      }
      return parts.join(instead);
    }, text);
}
