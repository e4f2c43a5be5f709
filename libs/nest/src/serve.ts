import { type DynamicModule, Logger, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import helmet from 'helmet';
import type { NextFunction, Request, Response } from 'express';
import { Logger as PinoLogger, LoggerModule } from 'nestjs-pino';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Configuration, listeningHost } from './configuration/configuration';
import { ConfigurationError } from './configuration/configuration-error';
import { GuardedWsAdapter } from './events/guarded-ws-adapter';
import { Doorkeeper } from './http/doorkeeper';
import { useStrictJson } from './http/json-body';
import { answerProblem } from './http/problem-answer';
import { logging } from './logging';
import { MeshNode } from './node/mesh-node';
import { describeApi } from './openapi';

export interface ServeOptions {
  readonly configuration: Configuration;
  /** The application's own modules, P2pModule among them. */
  readonly imports: readonly (DynamicModule | Type)[];
  /** Titles the API's description at /docs. */
  readonly title: string;
  /** Ended after the application: pools and servers that the caller brought. */
  readonly resources?: AsyncDisposable;
}

export interface Served extends AsyncDisposable {
  readonly app: NestExpressApplication;
  readonly port: number;
  readonly url: string;
  stop(): Promise<void>;
}

/** How long requests under way may take to end when the node stops, in ms. */
const graceful = 10_000;

@Module({})
class ServedModule {}

/**
 * Makes a process serve: logs, door, body parser, WebSocket, API description, then listens and starts the mesh.
 * @throws ConfigurationError and what else keeps the node from starting; everything is closed again then
 */
export async function serve({ configuration, imports, title, resources }: ServeOptions): Promise<Served> {
  let app: NestExpressApplication | undefined;
  const stop = once(() => close(app, resources));
  try {
    const root = { module: ServedModule, imports: [LoggerModule.forRoot(logging(configuration)), ...imports] };
    app = await NestFactory.create<NestExpressApplication>(root, {
      bodyParser: false,
      bufferLogs: true,
      abortOnError: false,
    });
    app.useLogger(app.get(PinoLogger));
    app.flushLogs();

    // Who comes in
    const doorkeeper = new Doorkeeper(configuration.secret);
    app.disable('x-powered-by');
    app.use((request: Request, response: Response, next: NextFunction) => {
      const refusal = doorkeeper.refuseAnywhere(request);
      if (refusal) answerProblem(response, refusal);
      else next();
    });
    app.use(helmet({ contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } } }));

    // What they bring
    useStrictJson(app);
    app.useWebSocketAdapter(new GuardedWsAdapter(app, doorkeeper));
    if (configuration.enabled) app.getHttpServer().prependListener('upgrade', withoutTrailingSlash);

    // What they find
    describeApi(app, title);

    await listen(app, configuration);
    const { port } = app.getHttpServer().address() as AddressInfo;
    const host = listeningHost(configuration);
    const url = `http://${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${port}`;
    new Logger('Http').log({ msg: 'listening', url });
    if (configuration.enabled) await app.get(MeshNode, { strict: false }).start(port);
    return { app, port, url, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function withoutTrailingSlash(request: IncomingMessage): void {
  request.url = request.url?.replace(/\/+(?=\?|$)/, '');
}

async function listen(app: NestExpressApplication, configuration: Configuration): Promise<void> {
  const { port } = configuration;
  const host = listeningHost(configuration);
  try {
    await app.listen(port, host);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const told: Record<string, string> = {
      EADDRINUSE: `API_PORT=${port} is taken on ${host}. Stop the program that listens there, or choose another port.`,
      EADDRNOTAVAIL: `P2P_HOST=${JSON.stringify(host)} is not an address of this machine. Choose one that is.`,
      EACCES: `API_PORT=${port} needs privileges that this process lacks. Choose a port above 1023.`,
    };
    throw code !== undefined && told[code] ? new ConfigurationError([told[code]]) : error;
  }
}

/** Stops accepting, lets go of what waits, lets requests end for a while, then closes the rest in order. */
async function close(app: NestExpressApplication | undefined, resources: AsyncDisposable | undefined): Promise<void> {
  const server = app?.getHttpServer();
  const impatience = setTimeout(() => {
    new Logger('Http').warn(
      `Requests have not ended within ${graceful / 1000} s of the stop; their connections are cut.`,
    );
    server?.closeAllConnections();
  }, graceful);
  try {
    server?.close();
    await app?.close();
  } finally {
    clearTimeout(impatience);
    await resources?.[Symbol.asyncDispose]();
  }
}

function once<Result>(run: () => Promise<Result>): () => Promise<Result> {
  let running: Promise<Result> | undefined;
  return () => (running ??= run());
}
