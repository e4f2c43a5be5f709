export * from './bootstrap';
export * from './codec';
export * from './digest';
export * from './exchange';
export * from './frame';
export * from './protocol';
export * from './step';
export * from './problem';
