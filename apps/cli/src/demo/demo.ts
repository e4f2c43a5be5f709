import { setTimeout as sleep } from 'node:timers/promises';
import { DemoNode, type LogLine, type Ready } from './demo-node';
import { isTrouble, Screen } from './screen';
import { tour } from './tour';

export interface DemoOptions {
  readonly ports: readonly number[];
  readonly databasePorts: readonly number[];
  readonly dataDir: string;
  readonly discoveryPort: string;
}

/** How long to wait for the nodes to find each other before the tour is shown without it, in ms. */
const meeting = 10_000;

/** Three nodes of the reference application, each with a database of its own, from start to Ctrl-C. */
export class Demo {
  private readonly screen = new Screen();
  private readonly nodes: DemoNode[] = [];
  /** node → the peers that it is connected to. */
  private readonly connected = new Map<string, Set<string>>();
  private allMet = (): void => {};
  private readonly met = new Promise<void>((resolve) => (this.allMet = resolve));
  private complete = false;
  private stopping: Promise<void> | null = null;

  constructor(private readonly options: DemoOptions) {}

  /** Resolves with the exit code when all nodes have ended. */
  async run(): Promise<number> {
    const started = performance.now();
    process.on('SIGINT', () => this.interrupt());
    process.on('SIGTERM', () => this.interrupt());
    process.on('SIGHUP', () => this.interrupt());
    this.screen.title('pgmesh: three nodes, each with its own PostgreSQL');

    for (const index of [0, 1, 2]) this.nodes.push(this.launch(index));
    const endings = this.nodes.map((node) => node.ended.then((how) => this.gone(node, how)));
    try {
      const ready = await Promise.all(this.nodes.map((node) => node.ready.then((report) => this.up(node, report))));
      await Promise.race([this.met, sleep(meeting, undefined, { ref: false })]);
      this.complete = true;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      this.screen.title(`Ready after ${seconds} s. Try, in another terminal:`);
      for (const line of tour(ready)) this.screen.line(line);
      this.screen.title('What happens, as it happens (Ctrl-C stops everything):');
    } catch {
      // Which node ended, and how, stands on the screen already. Three are the demonstration: fewer are stopped.
      if (this.stopping === null) process.exitCode = 1;
      await this.stop();
    }
    await Promise.all(endings);
    return this.stopping === null ? 1 : Number(process.exitCode ?? 0);
  }

  private launch(index: number): DemoNode {
    const { ports, databasePorts, dataDir, discoveryPort } = this.options;
    const others = ports.filter((port, other) => other !== index && port !== 0);
    const settings = {
      NODE_ID: `node${index + 1}`,
      API_PORT: String(ports[index]),
      P2P_DATA_DIR: dataDir,
      ...(databasePorts[index] === 0 ? {} : { P2P_DATABASE_PORT: String(databasePorts[index]) }),
      P2P_HOST: '127.0.0.1',
      P2P_DISCOVERY_MODE: 'mdns',
      P2P_DISCOVERY_PORT: discoveryPort,
      // Multicast may be switched off on this machine; then these lead to the others.
      P2P_PEERS: others.map((port) => `http://127.0.0.1:${port}`).join(','),
      PRODUCT_REVIEW_SEED: String(index === 0),
    };
    return new DemoNode(settings.NODE_ID, settings, {
      progress: (node, what) => this.screen.of(node.name, what),
      logged: (node, line) => this.heard(node, line),
    });
  }

  private up(node: DemoNode, report: Ready): Ready {
    const wanted = this.options.databasePorts[this.nodes.indexOf(node)];
    const moved = wanted !== 0 && wanted !== report.databasePort ? ` (${wanted} is taken)` : '';
    const samples = report.seeded === 0 ? '' : `, with ${report.seeded} rows of sample data`;
    this.screen.of(node.name, `ready at ${report.url}, PostgreSQL on port ${report.databasePort}${moved}${samples}`);
    return report;
  }

  private heard(node: DemoNode, line: LogLine): void {
    // Until all are up, one or another does not answer yet; and what ends a node is told when it has ended.
    if (this.complete || !isTrouble(line)) this.screen.logged(node.name, line);
    if (line.msg !== 'peer_connected') return;
    const peers = this.connected.get(node.name) ?? new Set();
    this.connected.set(node.name, peers.add(String(line.peer)));
    if (this.nodes.every(({ name }) => (this.connected.get(name)?.size ?? 0) >= this.nodes.length - 1)) this.allMet();
  }

  private gone(node: DemoNode, how: string): void {
    if (node.isStopping) this.screen.of(node.name, 'stopped');
    else this.screen.trouble(node.name, how);
  }

  /** The first Ctrl-C stops in order, the second at once. */
  private interrupt(): void {
    if (this.stopping === null) this.screen.title('Stopping (Ctrl-C again to force)');
    void this.stop();
  }

  private stop(): Promise<void> {
    const stopped = Promise.all(this.nodes.map((node) => node.stop())).then(() => undefined);
    this.stopping ??= stopped;
    return stopped;
  }
}
