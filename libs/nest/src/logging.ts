import type { Params } from 'nestjs-pino';
import type { Configuration } from './configuration/configuration';

/** What the framework tells of its own start, line by line: of use to who looks for a fault in it, at `debug`. */
const framework = new Set([
  'InstanceLoader',
  'NestApplication',
  'NestFactory',
  'RouterExplorer',
  'RoutesResolver',
  'WebSocketsController',
]);
const info = 30;

/** JSON lines on standard output. Requests are told at `debug`, without headers that hold secrets. */
export function logging({ logLevel, nodeId }: Pick<Configuration, 'logLevel' | 'nodeId'>): Params {
  const tellsRequests = logLevel === 'debug' || logLevel === 'trace';
  return {
    pinoHttp: {
      level: logLevel,
      base: { node: nodeId },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      autoLogging: tellsRequests,
      quietReqLogger: true,
      customLogLevel: () => 'debug',
      hooks: {
        logMethod(args, method, level) {
          const context = (args[0] as { context?: unknown } | undefined)?.context;
          if (level === info && framework.has(context as string)) this.debug(...args);
          else method.apply(this, args);
        },
      },
      redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["proxy-authorization"]'],
    },
    ...(tellsRequests ? {} : { forRoutes: [] }),
  };
}
