/**
 * Pure tests stand beside what they test (`*.spec.ts`); what needs a database is `test/**\/*.db.spec.ts`, what needs
 * nodes over HTTP `*.mesh.spec.ts`. One embedded PostgreSQL server is started for the run (test/support/global-setup).
 */
module.exports = {
  testMatch: ['<rootDir>/{apps,libs,test}/**/*.spec.ts'],
  transform: { '^.+\\.ts$': '@swc/jest' },
  moduleNameMapper: { '^@pgmesh/([a-z]+)$': '<rootDir>/libs/$1/src' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/data/'],
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  testTimeout: 180_000,
  maxWorkers: 2,
};
