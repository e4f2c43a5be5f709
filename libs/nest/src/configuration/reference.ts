import type { Setting } from './setting';
import { settings } from './settings';

/** docs/configuration.md, from the table. `npm test` compares; `node bin/pgmesh.js configuration` prints it. */
export function configurationReference(): string {
  return `# Configuration

<!-- Made from libs/nest/src/configuration/settings.ts: \`node bin/pgmesh.js configuration > docs/configuration.md\` -->

Each setting is an environment variable and, where there is one, an option of \`pgmesh node\`. \`--env-file <path>\` reads variables
from a file. Later sources win: env file, environment, options. All are checked once, at the start, and what cannot be used
is named together with the remedy. Time spans take a unit (\`500ms\`, \`30s\`, \`5m\`, \`30d\`); a bare number is in seconds.

Without \`P2P_SECRET\` a node serves loopback alone, whatever else is set: it listens on 127.0.0.1, refuses to start on any other
address, and refuses requests whose \`Host\` is not a loopback name. With \`P2P_SECRET\` every request below \`/p2p\`, the WebSocket
included, carries it as \`Authorization: Bearer\`; \`/health\` and the application's own routes stay open. Requests are not
signed yet: between machines, put HTTPS in front.

${Object.values<Setting>(settings).map(entry).join('\n')}`;
}

function entry({ variable, flag, meaning, fallback, fallbackMeaning, example }: Setting): string {
  const lines = [
    meaning,
    '',
    ...(flag === null ? [] : [`- Option: \`${flag}\``]),
    `- Default: ${fallbackMeaning ?? (fallback === undefined ? 'none' : `\`${fallback}\``)}`,
    ...(example === '' ? [] : [`- Example: \`${variable}=${example}\``]),
  ];
  return `## ${variable}\n\n${lines.join('\n')}\n`;
}
