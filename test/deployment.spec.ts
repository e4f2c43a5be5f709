import { readConfiguration, settings } from '@pgmesh/nest';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

/** What can be said of the container files without a container: that they fit the repository and each other. */

const root = join(__dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Service {
  image: string;
  command?: string[];
  build?: { context: string; dockerfile: string };
  environment?: Record<string, string>;
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
}

interface Container {
  name: string;
  image: string;
  env: { name: string; value?: string; valueFrom?: { secretKeyRef?: { name: string; key: string } } }[];
  ports?: { name: string; containerPort: number }[];
  livenessProbe?: { httpGet: { path: string; port: string } };
  readinessProbe?: { httpGet?: { path: string; port: string } };
}

const variables = new Set<string>(Object.values(settings).map(({ variable }) => variable));
/** Read by the application, by PostgreSQL's image, and by the settings that name them, not by the node. */
const others = new Set(['PRODUCT_REVIEW_SEED', 'POSTGRES_PASSWORD', 'NAMESPACE']);
const unknownSettings = (names: readonly string[]): string[] =>
  names.filter((name) => !variables.has(name) && !others.has(name));

/** Where a program that is run from `dist/` is written. */
const sourceOf = (program: string): string => program.replace(/^dist\//, '').replace(/\.js$/, '.ts');

describe('docker/Dockerfile', () => {
  const text = read('docker/Dockerfile');
  const instructions = text
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => ({ name: line.split(' ', 1)[0]!, rest: line.slice(line.indexOf(' ') + 1).trim() }));
  const last = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));
  const only = (name: string): string => last.find((instruction) => instruction.name === name)?.rest ?? '';

  it('copies what is there, and nothing that .dockerignore leaves out', () => {
    const sources = instructions
      .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from'))
      .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
    const taken = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    expect(sources.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    expect(sources.filter((path) => !taken.includes(path))).toEqual([]);
  });

  it('copies from stages that it has', () => {
    const stages = instructions.flatMap(({ name, rest }) =>
      name === 'FROM' ? (/ AS (\w+)$/.exec(rest)?.[1] ?? []) : [],
    );
    const used = instructions.flatMap(({ rest }) => /^--from=(\w+)/.exec(rest)?.[1] ?? []);
    expect(used.filter((stage) => !stages.includes(stage))).toEqual([]);
    expect(used.length).toBeGreaterThan(0);
  });

  it('does not run as root', () => {
    expect(only('USER')).toBe('node');
  });

  it('asks for its health where the node answers', () => {
    const [command] = /\[.*\]/.exec(only('HEALTHCHECK')) ?? [];
    const [, , script] = JSON.parse(command!) as string[];
    expect(script).toContain('/health/ready');
    expect(() => new Function(script!)).not.toThrow();
    expect(only('ENV')).toMatch(/\bAPI_PORT=\d+/);
  });

  it('starts a program that the build makes', () => {
    const [node, program] = JSON.parse(only('CMD')) as string[];
    expect(node).toBe('node');
    expect(existsSync(join(root, sourceOf(program!)))).toBe(true);
  });

  it('names versions of Node that package.json allows', () => {
    const images = new Set(instructions.filter(({ name }) => name === 'FROM').map(({ rest }) => rest.split(' ')[0]));
    expect([...images]).toEqual(['node:22-bookworm-slim']);
  });
});

describe('docker-compose.p2p.yml', () => {
  const file = parse(read('docker-compose.p2p.yml'), { merge: true }) as { services: Record<string, Service> };
  const nodes = Object.entries(file.services).filter(([, { build }]) => build);
  const databases = Object.entries(file.services).filter(([, { build }]) => !build);

  it('has no top-level name, which older versions of compose refuse', () => {
    expect(file).not.toHaveProperty('name');
  });

  it('has three databases on 5432 to 5434 and three nodes on 8001 to 8003, for this machine alone', () => {
    const ports = (services: typeof nodes) => services.flatMap(([, service]) => service.ports);
    expect(ports(databases)).toEqual(['127.0.0.1:5432:5432', '127.0.0.1:5433:5432', '127.0.0.1:5434:5432']);
    expect(ports(nodes)).toEqual(['127.0.0.1:8001:8001', '127.0.0.1:8002:8002', '127.0.0.1:8003:8003']);
  });

  it('builds from files that are there, and runs a program that the build makes', () => {
    for (const [, { build, command }] of nodes) {
      expect(existsSync(join(root, build!.context, build!.dockerfile))).toBe(true);
      expect(existsSync(join(root, sourceOf(command![1]!)))).toBe(true);
    }
    for (const [, { image }] of databases) expect(image).toBe('postgres:17-bookworm');
  });

  it.each(nodes)('gives %s settings that exist and are accepted', (name, { environment }) => {
    expect(unknownSettings(Object.keys(environment!))).toEqual([]);
    const { P2P_SECRET: secret, DATABASE_URL: url, ...plain } = environment!;
    // It does not start without a secret: in a container, a node that serves loopback alone serves nobody.
    expect(secret).toMatch(/^\$\{P2P_SECRET:\?.+\}$/);
    const filledIn = { P2P_SECRET: 'x'.repeat(64), DATABASE_URL: url!.replace(/\$\{\w+:-(\w+)\}/, '$1') };
    const configuration = readConfiguration({ ...plain, ...filledIn });
    expect(configuration.nodeId).toBe(name);
    expect(configuration.publicUrl).toBe(`http://${name}:${configuration.port}`);
  });

  it.each(nodes)('leads %s to its own database and to the other two nodes', (name, { environment, depends_on }) => {
    const number = name.slice('node'.length);
    expect(new URL(environment!.DATABASE_URL!.replace(/\$\{.*\}/, 'x')).hostname).toBe(`db${number}`);
    expect(Object.keys(depends_on!)).toEqual([`db${number}`]);
    const urls = nodes.filter(([other]) => other !== name).map(([, other]) => other.environment!.P2P_PUBLIC_URL);
    expect(environment!.P2P_PEERS!.split(',')).toEqual(urls);
  });
});

describe('docs/deployment.md', () => {
  const [swarm, kubernetes, bootstrap] = [...read('docs/deployment.md').matchAll(/```yaml\n([\s\S]*?)```/g)].map(
    ([, text]) => text!,
  );
  const documents = parseAllDocuments(kubernetes!).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as { kind: string; metadata: { name: string }; [member: string]: unknown };
  });
  const ofKind = (kind: string) => documents.find((document) => document.kind === kind)!;
  const set = ofKind('StatefulSet') as unknown as {
    spec: { serviceName: string; replicas: number; template: { spec: { containers: Container[] } } };
  };
  const { containers } = set.spec.template.spec;
  const node = containers.find(({ name }) => name === 'node')!;

  it('shows a Swarm stack that uses settings that exist', () => {
    const { services, secrets } = parse(swarm!) as {
      services: Record<string, Service & { secrets: string[] }>;
      secrets: object;
    };
    expect(unknownSettings(Object.keys(services.node!.environment!))).toEqual([]);
    expect(Object.keys(secrets).sort()).toEqual([...services.node!.secrets].sort());
    const [program] = /dist\/\S+\.js/.exec(services.node!.command![2]!) ?? [];
    expect(existsSync(join(root, sourceOf(program!)))).toBe(true);
  });

  it('gives each pod a PostgreSQL and a node with settings that exist', () => {
    expect(containers.map(({ name }) => name)).toEqual(['postgres', 'node']);
    expect(unknownSettings(node.env.map(({ name }) => name))).toEqual([]);
  });

  it('takes the secret from a Secret that is shown', () => {
    const from = node.env.find(({ name }) => name === 'P2P_SECRET')!.valueFrom!.secretKeyRef!;
    const secret = ofKind('Secret') as unknown as { metadata: { name: string }; stringData: Record<string, string> };
    expect(from.name).toBe(secret.metadata.name);
    expect(secret.stringData).toHaveProperty(from.key);
  });

  it('probes /health/live and /health/ready on the port that the node listens on', () => {
    expect(node.livenessProbe!.httpGet).toEqual({ path: '/health/live', port: 'http' });
    expect(node.readinessProbe!.httpGet).toEqual({ path: '/health/ready', port: 'http' });
    const port = node.env.find(({ name }) => name === 'API_PORT')!.value;
    expect(node.ports).toEqual([{ name: 'http', containerPort: Number(port) }]);
  });

  it('leads the pods to each other by the records of the headless service', () => {
    const service = ofKind('Service') as unknown as {
      metadata: { name: string };
      spec: { clusterIP: string; publishNotReadyAddresses: boolean };
    };
    expect(service.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
    expect(set.spec.serviceName).toBe(service.metadata.name);
    const [modes, name] = ['P2P_DISCOVERY_MODE', 'P2P_DNS_NAME'].map(
      (variable) => node.env.find((one) => one.name === variable)!.value!,
    );
    const inNamespace = name!.replace('$(NAMESPACE)', 'default');
    expect(inNamespace).toBe(`${service.metadata.name}.default.svc.cluster.local:8001`);
    expect(readConfiguration({ P2P_DISCOVERY_MODE: modes, P2P_DNS_NAME: inNamespace }).discovery).toEqual(['dns']);
  });

  it('shows a bootstrap node that uses settings that exist, and a program that the build makes', () => {
    const { services, volumes } = parse(bootstrap!) as { services: Record<string, Service>; volumes: object };
    const { environment, command, ports } = services.bootstrap!;
    expect(unknownSettings(Object.keys(environment!))).toEqual([]);
    expect(existsSync(join(root, sourceOf(command![1]!)))).toBe(true);
    expect(ports).toEqual([`${environment!.API_PORT}:${environment!.API_PORT}`]);
    expect(Object.keys(volumes)).toEqual(['register']);
  });
});
