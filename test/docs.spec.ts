import { problemCodes, protocolVersion } from '@pgmesh/wire';
import { settings } from '@pgmesh/nest';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const root = join(__dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const pages = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...['docs', 'docs/decisions'].flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`),
  ),
];

describe('docs/protocol.md', () => {
  const protocol = read('docs/protocol.md');

  it('lists each problem code with its status and title, in the order of the source', () => {
    const [, table = ''] = protocol.split('<!-- problems:');
    const listed = [...table.matchAll(/^\| `(\w+)` +\| (\d+) +\| (.+?) +\|$/gm)].map(([, code, status, title]) => [
      code,
      [Number(status), title],
    ]);
    expect(listed).toEqual(Object.entries(problemCodes));
  });

  it('names the version of the protocol', () => {
    expect(protocol).toContain(`Version ${protocolVersion}.`);
  });
});

describe('Markdown', () => {
  it.each(pages)('%s links only to what is there', (page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, target]) => target!);
    const missing = links.filter((target) => !existsSync(normalize(join(root, dirname(page), target))));
    expect(missing).toEqual([]);
  });

  it.each(pages)('%s names only settings that exist', (page) => {
    const known = new Set<string>(Object.values(settings).map(({ variable }) => variable));
    const named = [...read(page).matchAll(/\bP2P_[A-Z_]+\b/g)].map(([name]) => name);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  it.each(pages)('%s names only files that exist', (page) => {
    const files = [...read(page).matchAll(/`((?:libs|apps|migrations|test|docker|bench|docs)\/[\w./-]+)`/g)].map(
      ([, path]) => path!,
    );
    expect(files.filter((path) => !path.startsWith('bench/out') && !existsSync(join(root, path)))).toEqual([]);
  });
});
