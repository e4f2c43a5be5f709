/**
 * A process with nothing but mDNS discovery in it. Its options are one argument, as JSON; it prints what it sees, a
 * line of JSON each, and says goodbye when its standard input ends.
 */
import { MdnsSource, type MdnsSourceOptions } from '../../libs/discovery/src';

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function main(options: MdnsSourceOptions): Promise<void> {
  const source = new MdnsSource({ ...options, warn: (warning) => say({ warning }) });
  await source.start(
    (found) => say({ found }),
    (lost) => say({ lost }),
  );
  say({ started: true });
  process.stdin.resume().once('end', () => {
    void source.stop().then(() => process.exit(0));
  });
}

void main(JSON.parse(process.argv[2]!) as MdnsSourceOptions);
