/** Lets a child process run our TypeScript as it stands: `node --require test/support/typescript.js file.ts`. */
const { transformFileSync } = require('@swc/core');

require.extensions['.ts'] = (module, filename) => module._compile(transformFileSync(filename).code, filename);
