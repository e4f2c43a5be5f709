import { NodeDatabase, P2pModule, readConfiguration, runProcess, serve, type Served } from '@pgmesh/nest';
import { migrate } from './database/migrate';
import { openPool } from './database/pool';
import { seed } from './database/seed';
import { ProductReviewModule } from './product-review.module';

const ownTables = ['users', 'categories', 'products', 'reviews'];
/** What is kept of a row unless P2P_MAX_VERSIONS says otherwise. */
const ownMaxVersions = { P2P_MAX_VERSIONS: '5' };

/** What a parent process is told: progress while the database is made, then where everything is. */
export type Report =
  | { readonly type: 'progress'; readonly what: string }
  | {
      readonly type: 'ready';
      readonly url: string;
      readonly databaseUrl: string;
      readonly databasePort: number | null;
      /** Rows of sample data that were put in. */
      readonly seeded: number;
    };

function report(message: Report): void {
  if (process.send) process.send(message);
  else if (message.type === 'progress') console.error(message.what);
}

async function open(): Promise<Served> {
  // Configuration
  const configuration = readConfiguration(ownMaxVersions, process.env);
  const tables = configuration.tables.length > 0 ? configuration.tables : ownTables;
  const wantsSamples = process.env.PRODUCT_REVIEW_SEED === 'true';

  // Database: named, or one of our own
  const database = await NodeDatabase.open(configuration, (what) => report({ type: 'progress', what }));
  const pool = openPool(database.url);
  const resources: AsyncDisposable = {
    async [Symbol.asyncDispose]() {
      await pool.end();
      await database[Symbol.asyncDispose]();
    },
  };

  // Its tables, and a little to look at when that was asked for
  let seeded: number;
  try {
    await migrate(pool);
    seeded = wantsSamples ? await seed(pool) : 0;
  } catch (error) {
    await resources[Symbol.asyncDispose]();
    throw error;
  }

  // The application, and the mesh around its tables
  const served = await serve({
    configuration,
    title: 'Product reviews',
    imports: [
      P2pModule.forRoot({ ...configuration, databaseUrl: database.url, tables }),
      ProductReviewModule.forRoot({ pool }),
    ],
    resources,
  });
  report({ type: 'ready', url: served.url, databaseUrl: database.url, databasePort: database.embeddedPort, seeded });
  return served;
}

void runProcess(open);
