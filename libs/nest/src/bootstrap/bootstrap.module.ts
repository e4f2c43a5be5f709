import {
  type DynamicModule,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import type { Configuration } from '../configuration/configuration';
import { Doorkeeper } from '../http/doorkeeper';
import { ProblemFilter } from '../http/problem.filter';
import { DoorMiddleware } from '../p2p/door.middleware';
import { BootstrapHealthController } from './bootstrap-health.controller';
import { BootstrapController } from './bootstrap.controller';
import { BootstrapServing } from './serving';

/** A bootstrap node that is nothing else. A node of the mesh has the same in its P2pModule (P2P_BOOTSTRAP_SERVE). */
@Module({})
export class BootstrapModule implements NestModule, OnApplicationShutdown {
  constructor(private readonly serving: BootstrapServing) {}

  static forRoot(configuration: Configuration, warn: (message: string) => void): DynamicModule {
    return {
      module: BootstrapModule,
      imports: [TerminusModule.forRoot({ logger: false })],
      providers: [
        {
          provide: BootstrapServing,
          // Several on one machine differ in their ports.
          useFactory: () => BootstrapServing.open(configuration, String(configuration.port), warn),
        },
        { provide: Doorkeeper, useValue: new Doorkeeper(configuration.secret) },
        { provide: APP_FILTER, useClass: ProblemFilter },
      ],
      controllers: [BootstrapController, BootstrapHealthController],
    };
  }

  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(DoorMiddleware).forRoutes('p2p', 'p2p/*path');
  }

  async onApplicationShutdown(): Promise<void> {
    await this.serving[Symbol.asyncDispose]();
  }
}
