// TypeScript to JavaScript: apps and libs into dist, each file for itself, the rest (SQL) as it is. Types are checked by `npm run types`.
import { transformFile } from '@swc/core';
import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const target = 'dist';

async function compile(file) {
  const { code, map } = await transformFile(file);
  const output = join(target, file.replace(/\.ts$/, '.js'));
  await mkdir(dirname(output), { recursive: true });
  await writeFile(output, `${code}\n//# sourceMappingURL=${basename(output)}.map\n`);
  await writeFile(`${output}.map`, map);
}

await rm(target, { recursive: true, force: true });
for (const root of ['apps', 'libs']) {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const isSource = (file) => file.endsWith('.ts') && !/\.(spec|d)\.ts$/.test(file);
  await Promise.all(files.filter(isSource).map(compile));
  await Promise.all(files.filter((file) => !file.endsWith('.ts')).map((file) => cp(file, join(target, file))));
}
