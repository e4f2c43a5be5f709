import type { Params } from 'nestjs-pino';
import type { Configuration } from './configuration/configuration';

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
      redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["proxy-authorization"]'],
    },
    ...(tellsRequests ? {} : { forRoutes: [] }),
  };
}
