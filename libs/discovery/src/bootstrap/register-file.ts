/** The register on the disk: one small file that is always whole. A bootstrap node needs no database. */
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { z } from 'zod';
import type { Registration } from './register';

const version = 1;
const contents = z.object({
  version: z.literal(version),
  members: z.array(
    z.object({
      room: z.string(),
      node_id: z.string(),
      instance: z.string(),
      urls: z.array(z.string()),
      joined: z.boolean(),
    }),
  ),
});

export class RegisterFile {
  constructor(readonly path: string) {}

  /**
   * What stands there; nothing when there is no file yet. A file that is no register is set aside: nodes register again within
   * a third of a lease, and a bootstrap node that does not start introduces nobody.
   */
  async read(warn: (message: string) => void): Promise<Registration[]> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const found = contents.safeParse(parsed(text));
    if (found.success) return found.data.members.map(({ node_id: nodeId, ...rest }) => ({ nodeId, ...rest }));
    const aside = `${this.path}.unreadable`;
    await rename(this.path, aside);
    warn(
      `The register ${this.path} cannot be read, and was set aside as ${basename(aside)}. Nodes register anew by themselves.`,
    );
    return [];
  }

  /** Written whole under another name and put in its place: a crash leaves the old file or the new one. */
  async write(members: readonly Registration[]): Promise<void> {
    const text = JSON.stringify({
      version,
      members: members.map(({ room, nodeId, instance, urls, joined }) => ({
        room,
        node_id: nodeId,
        instance,
        urls,
        joined,
      })),
    });
    const directory = dirname(this.path);
    await mkdir(directory, { recursive: true });
    const written = `${this.path}.new`;
    const file = await open(written, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(written, this.path);
    await synced(directory);
  }
}

/** The new name, too, has to be on the disk. Windows neither can nor needs to open a directory. */
async function synced(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // no register either way
  }
}
