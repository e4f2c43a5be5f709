import { parseMaxVersions, parseRules } from '@pgmesh/core';
import { PostgresStore } from '@pgmesh/store';
import { Problem } from '@pgmesh/wire';
import { ConfigurationError } from '../configuration/configuration-error';
import { tablesNotShared } from '../p2p/shared-table';
import { loadResolvers } from './load-resolvers';
import type { OpenStore } from './mesh-node';
import { StoreRows } from './store-rows';

/** The store on the PostgreSQL behind `databaseUrl`. */
export const openPostgresStore: OpenStore = async (
  {
    databaseUrl,
    nodeId,
    priority,
    tables,
    maxDrift,
    conflict,
    conflictRetention,
    resolversFile,
    resolverTimeout,
    maxVersions: versions,
  },
  { warn, lease, resolvers: given = {} },
) => {
  if (databaseUrl === undefined) {
    throw new ConfigurationError([
      'DATABASE_URL is not set. Give P2pModule the URL of the database whose tables are shared.',
    ]);
  }
  const told = parseRules(conflict);
  if (!told.ok) throw new ConfigurationError(told.problems.map((problem) => `P2P_CONFLICT: ${problem}`));
  const kept = parseMaxVersions(versions);
  if (!kept.ok) throw new ConfigurationError(kept.problems.map((problem) => `P2P_MAX_VERSIONS: ${problem}`));
  const loaded = resolversFile === undefined ? {} : await loadResolvers(resolversFile);
  const store = await PostgresStore.open({
    url: databaseUrl,
    nodeId,
    priority,
    tables,
    maxDrift,
    rules: told.rules,
    resolvers: { ...loaded, ...given },
    resolverTimeout,
    conflictRetention,
    maxVersions: kept.maxVersions,
    lease,
    onFinding: ({ level, table, problem, remedy }) => {
      // Errors are thrown together when all have been found.
      if (level === 'warning') warn(`${table === null ? '' : `${table}: `}${problem} ${remedy}`);
    },
    onError: (error) => warn(error.message),
  });
  for (const table of kept.maxVersions.tables.keys()) {
    if (!store.find(table)) warn(`P2P_MAX_VERSIONS names ${table}, which is not shared here. P2P_TABLES says what is.`);
  }
  for (const table of tablesNotShared(store.tables(), store.rules)) {
    warn(`The rules (P2P_CONFLICT) name ${table}, which is not shared here. P2P_TABLES says what is.`);
  }
  return {
    identity: store.identity,
    get rules() {
      return store.rules;
    },
    get slot() {
      return store.slot;
    },
    resolvers: store.resolvers,
    setRules: (rules) => store.setRules(rules),
    feed: store.feed,
    inbox: store.inbox,
    history: store.history,
    digests: store.digests,
    peerBook: store.peerBook,
    members: store.members,
    conflicts: store.conflicts,
    parked: store.parked,
    settleParked: () => store.settleParked(),
    onParking: (listener) => store.onParking(listener),
    rows: new StoreRows(store),
    collect: () => store.collect(),
    tombstones: () => store.tombstones(),
    tables: () => store.tables(),
    references: () => store.references(),
    forms: () => store.forms(),
    refreshForms: () => store.refreshForms(),
    onForms: (listener) => store.onForms(listener),
    get leads() {
      return store.leads;
    },
    displaced: store.displaced,
    conflictsResolved: () => store.conflictsResolved(),
    close: () => store.close(),
    async changes(table, query) {
      const shape = store.find(table);
      if (!shape) throw new Problem('not_found', `${table} is not shared any more.`);
      return store.changes(shape, query).catch((error: unknown) => {
        throw isOfTheKeyIn(query.cursor, error)
          ? new Problem('bad_cursor', 'The cursor is not one that this node gave.')
          : error;
      });
    },
    async health() {
      const { away, error, idle, crowded } = await store.health();
      if (away) throw new Problem('unavailable', `The database cannot be reached${error ? `: ${error}` : ''}.`);
      return { ...(idle ? { idle } : {}), ...(crowded ? { crowded } : {}) };
    },
  };
};

/** A cursor carries a key, which PostgreSQL alone can read: one that it cannot read (SQLSTATE class 22) was tampered with. */
function isOfTheKeyIn(cursor: string | undefined, error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return cursor !== undefined && typeof code === 'string' && code.startsWith('22');
}
