import {
  type DynamicModule,
  type FactoryProvider,
  Logger,
  type MiddlewareConsumer,
  Module,
  type ModuleMetadata,
  type NestModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type Provider,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import type { Resolvers } from '@pgmesh/store';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BootstrapController } from './bootstrap/bootstrap.controller';
import { BootstrapServing } from './bootstrap/serving';
import { type Configuration, configurationOf } from './configuration/configuration';
import { EventsGateway } from './events/events.gateway';
import { HealthController } from './health/health.controller';
import { Doorkeeper } from './http/doorkeeper';
import { MeshNode, type OpenStore } from './node/mesh-node';
import { openPostgresStore } from './node/open-store';
import { ChangesController } from './p2p/changes.controller';
import { CompareController } from './p2p/compare.controller';
import { ConflictsController } from './p2p/conflicts.controller';
import { DoorMiddleware } from './p2p/door.middleware';
import { LeaderMiddleware } from './p2p/leader.middleware';
import { ExchangeController } from './p2p/exchange.controller';
import { MembersController } from './p2p/members.controller';
import { ParkedController } from './p2p/parked.controller';
import { PeersController } from './p2p/peers.controller';
import { RulesController } from './p2p/rules.controller';
import { RowsController } from './p2p/rows.controller';
import { StatusController } from './p2p/status.controller';
import { SyncController } from './p2p/sync.controller';
import { VerifyController } from './p2p/verify.controller';

/** Settings by the names of `Configuration`; what is left out is as docs/configuration.md says. */
export interface P2pOptions extends Partial<Configuration> {
  /** Functions for the strategy `custom`, by the names that rules have for them; beside those of `resolversFile`. */
  readonly resolvers?: Resolvers;
  /** In place of PostgreSQL behind `databaseUrl`. */
  readonly openStore?: OpenStore;
}

export interface P2pAsyncOptions extends Pick<ModuleMetadata, 'imports'> {
  readonly useFactory: (...dependencies: never[]) => P2pOptions | Promise<P2pOptions>;
  readonly inject?: FactoryProvider['inject'];
  /** With `false` only /health is there. Not part of the factory's answer, since routes are laid before it is asked. */
  readonly enabled?: boolean;
}

const OPTIONS = Symbol('P2pOptions');

/** A node of the mesh inside a NestJS application. It starts when the application listens, and ends with it. */
@Module({})
export class P2pModule implements NestModule, OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  private readonly log = new Logger('Mesh');

  constructor(
    private readonly node: MeshNode,
    private readonly http: HttpAdapterHost,
    private readonly bootstrap: BootstrapServing,
  ) {}

  static forRoot(options: P2pOptions): DynamicModule {
    return assemble({ provide: OPTIONS, useValue: options }, [], options.enabled ?? true);
  }

  static forRootAsync({ useFactory, inject, imports, enabled }: P2pAsyncOptions): DynamicModule {
    return assemble({ provide: OPTIONS, useFactory, inject }, imports ?? [], enabled ?? true);
  }

  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(DoorMiddleware, LeaderMiddleware).forRoutes('p2p', 'p2p/*path');
  }

  onApplicationBootstrap(): void {
    if (!this.node.configuration.enabled) return;
    const server = this.http.httpAdapter.getHttpServer() as Server;
    const start = (): void => {
      this.node.start((server.address() as AddressInfo).port).catch((error: unknown) => this.log.fatal(error));
    };
    if (server.listening) start();
    else server.once('listening', start);
  }

  async onModuleDestroy(): Promise<void> {
    await this.node.stop();
  }

  /** After the server has closed: nobody asks the database any more. */
  async onApplicationShutdown(): Promise<void> {
    await this.bootstrap[Symbol.asyncDispose]();
    await this.node.close();
  }
}

function assemble(options: Provider, imports: ModuleMetadata['imports'], enabled: boolean): DynamicModule {
  return {
    module: P2pModule,
    imports: [...(imports ?? []), TerminusModule.forRoot({ logger: false })],
    providers: [
      // The configuration
      options,

      // Store, discovery and sync: put together in node/running-node.ts once the server listens
      {
        provide: MeshNode,
        inject: [OPTIONS],
        useFactory: ({ openStore = openPostgresStore, resolvers, ...settings }: P2pOptions) =>
          new MeshNode(configurationOf({ ...settings, enabled }), openStore, resolvers),
      },

      // A register of others, where this node introduces them
      {
        provide: BootstrapServing,
        inject: [MeshNode],
        useFactory: ({ configuration }: MeshNode) =>
          configuration.enabled && configuration.bootstrapServe
            ? BootstrapServing.open(configuration, configuration.nodeId, (message) =>
                new Logger('Bootstrap').warn(message),
              )
            : BootstrapServing.off,
      },

      // HTTP and WebSocket
      {
        provide: Doorkeeper,
        inject: [MeshNode],
        useFactory: ({ configuration }: MeshNode) => new Doorkeeper(configuration.secret),
      },
      ...(enabled ? [EventsGateway] : []),
    ],
    controllers: [
      HealthController,
      ...(enabled
        ? [
            StatusController,
            PeersController,
            MembersController,
            ChangesController,
            ConflictsController,
            ParkedController,
            RulesController,
            RowsController,
            ExchangeController,
            CompareController,
            SyncController,
            BootstrapController,
            VerifyController,
          ]
        : []),
    ],
    exports: [MeshNode],
  };
}
