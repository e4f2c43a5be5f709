import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { ConfigurationError } from './configuration-error';

/** The variables of a file of `NAME=value` lines. @throws ConfigurationError when it cannot be read. */
export function readEnvFile(path: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(path, 'utf8')) as Record<string, string | undefined>;
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new ConfigurationError([`The env file ${path} cannot be read (${why}). Check the path given by --env-file.`]);
  }
}
