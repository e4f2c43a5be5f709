import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { protocolVersion } from './protocol';

/** What nodes say to each other, for the version that says it so. */
const spoken = { version: 2, hash: 'b024b916b4353e72' };

/** The declarations of a source file without comments and white space. */
function declarations(file: string): string {
  const source = readFileSync(join(__dirname, file), 'utf8');
  return source.replace(/\/\*[^]*?\*\/|\/\/.*|\s+/g, '').replace(/exportconstprotocolVersion=\d+;/, '');
}

describe('The protocol', () => {
  it('changes by intention only', () => {
    const hash = createHash('sha256')
      .update(['frame.ts', 'protocol.ts'].map(declarations).join('\n'))
      .digest('hex')
      .slice(0, 16);
    const found = { version: protocolVersion, hash };
    if (found.version !== spoken.version || found.hash !== spoken.hash) {
      throw new Error(
        `frame.ts or protocol.ts is no longer what version ${spoken.version} speaks. If nodes of the former version cannot ` +
          `read it, raise protocolVersion and add a line to its history; then set spoken to ${JSON.stringify(found)}.`,
      );
    }
  });
});
