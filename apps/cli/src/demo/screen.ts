import type { LogLine } from './demo-node';

const colours = [36, 33, 35];
const grey = 90;
const red = 31;

/** What the demonstration shows: lines that line up, in colour on a terminal. */
export class Screen {
  private readonly inColour = process.stdout.isTTY && process.env.NO_COLOR === undefined;

  title(text: string): void {
    console.log(`\n${this.paint(1, text)}`);
  }

  line(text = ''): void {
    console.log(text);
  }

  /** `12:30:05  node1  text` */
  of(name: string, text: string, time = new Date()): void {
    const colour = colours[(Number(name.at(-1)) - 1) % colours.length] ?? grey;
    console.log(`${this.paint(grey, time.toTimeString().slice(0, 8))}  ${this.paint(colour, name.padEnd(6))}  ${text}`);
  }

  trouble(name: string, text: string): void {
    this.of(name, this.paint(red, text));
  }

  /** A line of a node's log, where a person watching wants to know of it. */
  logged(name: string, line: LogLine): void {
    const told = tell(line);
    if (told === null) return;
    const at = line.time === undefined ? new Date() : new Date(line.time);
    this.of(name, isTrouble(line) ? this.paint(red, told) : told, at);
  }

  private paint(code: number, text: string): string {
    return this.inColour ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

export const isTrouble = ({ level }: LogLine): boolean => level === 'warn' || level === 'error' || level === 'fatal';

/** An event in words; null for what the screen leaves out. */
function tell(line: LogLine): string | null {
  const { msg, peer, url, code, detail, rows, conflicts } = line;
  switch (msg) {
    case 'peer_found':
      return `found     ${String(peer)}${peer === url ? '' : ` at ${String(url)}`}`;
    case 'peer_connected':
      return `connected ${String(peer)} at ${String(url)}`;
    case 'peer_unreachable':
      return `lost      ${String(peer)}: ${String(detail)}`;
    case 'peer_left':
      return `left      ${String(peer)}`;
    case 'changes_received':
      return line.changed === 0
        ? null
        : `received  ${String(rows)} from ${String(peer)}: ${byTable(line.tables)}${told(conflicts)}`;
    case 'conflict_ended':
      return `decided   conflict ${String(line.id)} of ${String(line.table)}`;
    case 'parked':
      return `parked    ${rowOf(line)}: ${String(line.message)}`;
    case 'unparked':
      return `unparked  ${rowOf(line)}${line.stands === true ? '' : ', which was deleted'}`;
    case 'rules_differ':
      return differs(line, 'P2P_CONFLICT');
    case 'constraints_differ':
      return differs(line, 'constraints');
    case 'rows_differ':
      return `differs   from ${String(peer)} in ${String(line.differ)} rows of ${String(line.table)}, ${String(line.repaired)} repaired`;
    case 'sequences_clash':
      return line.clash === null ? null : `clashes   with ${String(peer)} over serial keys: pgmesh sequences`;
    case 'table_paused':
      return `paused    ${String(line.table)} with ${String(peer)}: ${String(line.reason)}`;
    case 'table_resumed':
      return `resumed   ${String(line.table)} with ${String(peer)}`;
    case 'sync_failed':
      return `failed    with ${String(peer)} (${String(code)}): ${String(detail)}`;
    default:
      return isTrouble(line) ? `${String(line.level)}  ${String(msg)}` : null;
  }
}

/** An empty list says that they no longer do. */
function differs({ peer, differences }: LogLine, what: string): string {
  const agree = Array.isArray(differences) && differences.length === 0;
  return agree ? `agrees    with ${String(peer)} in ${what} again` : `differs   from ${String(peer)} in ${what}`;
}

const told = (conflicts: unknown): string =>
  typeof conflicts === 'number' && conflicts > 0 ? `, ${conflicts} of them in conflict` : '';

/** `products {"id":"1"}` */
const rowOf = ({ table, key }: LogLine): string => `${String(table).replace(/^public\./, '')} ${JSON.stringify(key)}`;

/** `public.products 2, public.reviews 1` */
function byTable(tables: unknown): string {
  if (typeof tables !== 'object' || tables === null) return '';
  return Object.entries(tables)
    .map(([table, rows]) => `${table.replace(/^public\./, '')} ${String(rows)}`)
    .join(', ');
}
