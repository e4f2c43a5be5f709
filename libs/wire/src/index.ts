export * from './codec';
export * from './frame';
export * from './protocol';
export * from './problem';
