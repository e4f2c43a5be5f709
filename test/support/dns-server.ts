/** A DNS server of the test's own on loopback (RFC 1035): it answers A, AAAA and SRV questions with what the test sets. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

export interface DnsRecords {
  readonly a?: readonly string[];
  /** Whole, as eight groups. */
  readonly aaaa?: readonly string[];
  readonly srv?: readonly { readonly target: string; readonly port: number }[];
}

const types = { 1: 'a', 28: 'aaaa', 33: 'srv' } as const;
const [noError, serverFailure, noSuchName] = [0, 2, 3];

export class DnsServer implements AsyncDisposable {
  readonly records = new Map<string, DnsRecords>();
  /** What it does instead of answering. */
  trouble: 'refuses' | 'is silent' | null = null;
  questions = 0;

  private constructor(private readonly socket: Socket) {
    socket.on('message', (bytes, from) => this.#answer(bytes, from));
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new DnsServer(socket);
  }

  /** As P2P_DNS_SERVERS takes it. */
  get address(): string {
    return `127.0.0.1:${(this.socket.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close();
    await once(this.socket, 'close');
  }

  #answer(bytes: Buffer, { port, address }: RemoteInfo): void {
    this.questions += 1;
    if (this.trouble === 'is silent') return;
    const { name, end } = readName(bytes, 12);
    const type = types[bytes.readUInt16BE(end) as keyof typeof types];
    const records = this.records.get(name.toLowerCase());
    const datas = this.trouble === null && records && type ? (records[type] ?? []).map(dataOf) : [];
    const code = this.trouble === 'refuses' ? serverFailure : records ? noError : noSuchName;
    const head = Buffer.alloc(12);
    bytes.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8580 | code!, 2); // an answer, authoritative, recursion asked for and available
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(datas.length, 6);
    const answers = datas.map((data) => {
      const fixed = Buffer.alloc(12);
      fixed.writeUInt16BE(0xc00c, 0); // the name of the question
      bytes.copy(fixed, 2, end, end + 4); // its type and class
      fixed.writeUInt32BE(1, 6);
      fixed.writeUInt16BE(data.length, 10);
      return Buffer.concat([fixed, data]);
    });
    this.socket.send(Buffer.concat([head, bytes.subarray(12, end + 4), ...answers]), port, address);
  }
}

function readName(bytes: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  while (bytes[at] !== 0) {
    const length = bytes[at]!;
    labels.push(bytes.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 1 };
}

function dataOf(record: string | { target: string; port: number }): Buffer {
  if (typeof record !== 'string') {
    const fixed = Buffer.alloc(6);
    fixed.writeUInt16BE(record.port, 4); // priority and weight are 0
    const labels = record.target.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
    return Buffer.concat([fixed, ...labels, Buffer.alloc(1)]);
  }
  if (!record.includes(':')) return Buffer.from(record.split('.').map(Number));
  return Buffer.concat(record.split(':').map((group) => Buffer.from(group.padStart(4, '0'), 'hex')));
}
