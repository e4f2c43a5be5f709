import { Command } from 'commander';
import { Demo } from './demo';

const ports = (text: string): number[] => {
  const numbers = text.split(',').map(Number);
  if (numbers.length === 3 && numbers.every((port) => Number.isInteger(port) && port >= 0 && port < 65_536))
    return numbers;
  throw new Error(`${JSON.stringify(text)} are not three ports. Write them like 8001,8002,8003.`);
};

export function command(): Command {
  return new Command('demo')
    .option('--ports <three>', 'The ports of the nodes', ports, [8001, 8002, 8003])
    .option('--database-ports <three>', 'The ports of their databases, where free', ports, [5432, 5433, 5434])
    .option('--data-dir <directory>', 'Where the databases are kept', 'data')
    .option('--discovery-port <number>', 'The UDP port on which the nodes find each other', '6001')
    .action(async (options: { ports: number[]; databasePorts: number[]; dataDir: string; discoveryPort: string }) => {
      process.exitCode = await new Demo(options).run();
    });
}
