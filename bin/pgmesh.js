#!/usr/bin/env node
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const program = join(__dirname, '../dist/apps/cli/src/main.js');
if (existsSync(program)) {
  require(program);
} else {
  console.error('pgmesh is not built yet. Run: npm run build');
  process.exitCode = 1;
}
