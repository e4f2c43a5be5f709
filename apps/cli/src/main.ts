import { Command } from 'commander';

/** Only the command that was asked for is loaded: the others' libraries take longer to read than it takes to print a line. */
const commands: Readonly<Record<string, { summary: string; load: () => Promise<{ command: () => Command }> }>> = {
  node: { summary: 'Run a node beside a PostgreSQL database', load: () => import('./node.command.js') },
  bootstrap: {
    summary: 'Run a bootstrap node, by which nodes on different networks find each other',
    load: () => import('./bootstrap.command.js'),
  },
  demo: {
    summary: 'Run three nodes of the reference application on this machine',
    load: () => import('./demo/demo.command.js'),
  },
  status: { summary: 'Show how a running node is doing', load: () => import('./status.command.js') },
  peers: { summary: "List a running node's peers", load: () => import('./peers.command.js') },
  verify: {
    summary: "Compare a running node's rows with those of its peers, and repair what differs",
    load: () => import('./verify.command.js'),
  },
  members: {
    summary: 'List who belongs to the mesh, how far each has come, and whom deletions wait for',
    load: () => import('./members.command.js'),
  },
  evict: {
    summary: 'Let nobody wait any longer for a member that is gone',
    load: () => import('./evict.command.js'),
  },
  events: { summary: 'Print what happens in the mesh, as it happens', load: () => import('./events.command.js') },
  detach: {
    summary: 'Remove pgmesh from a database; its tables stay as they are',
    load: () => import('./detach.command.js'),
  },
  'new-incarnation': {
    summary: 'Let a copied or set back database write under a name of its own',
    load: () => import('./new-incarnation.command.js'),
  },
  sequences: {
    summary: 'Show which serial keys would collide with those of other nodes, and interleave them',
    load: () => import('./sequences.command.js'),
  },
  configuration: {
    summary: 'Print the reference of all settings, as Markdown',
    load: () => import('./configuration.command.js'),
  },
};

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('pgmesh')
    .description('Keeps the same PostgreSQL tables writable on every site')
    .showHelpAfterError();
  for (const [name, { summary, load }] of Object.entries(commands)) {
    const asked = argv[2] === name || (argv[2] === 'help' && argv[3] === name);
    program.addCommand((asked ? (await load()).command() : new Command(name)).description(summary));
  }
  await program.parseAsync(argv);
}

main(process.argv).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
