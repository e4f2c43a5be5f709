import type { Resolver } from '@pgmesh/core';
import type { Resolvers } from '@pgmesh/store';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigurationError } from '../configuration/configuration-error';

/** The functions that a module of the user's exports, by name: its named exports, and those of a default object; a default function is `default`. */
export async function loadResolvers(path: string): Promise<Resolvers> {
  const refuse = (what: string): never => {
    throw new ConfigurationError([`P2P_RESOLVERS=${JSON.stringify(path)} ${what}.`]);
  };
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = (await import(pathToFileURL(resolve(path)).href)) as typeof loaded;
  } catch (error) {
    return refuse(`cannot be loaded: ${(error as Error).message}. Give the path of a JavaScript module`);
  }
  const functions = [loaded.default ?? {}, loaded]
    .flatMap((exported) => Object.entries(exported))
    .filter((entry): entry is [string, Resolver] => typeof entry[1] === 'function');
  if (functions.length === 0)
    return refuse('exports no function. Export resolvers by the names that the rules have for them');
  return Object.fromEntries(functions);
}
