import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/**
 * The direction of imports (docs/concepts.md): core imports nothing; wire, store and discovery import core; sync uses
 * them through ports; nest puts HTTP around sync; apps put all together. A lib reaches another by its alias alone.
 */
const mayImport = {
  core: [],
  wire: ['core'],
  store: ['core', 'wire'],
  discovery: ['core', 'wire'],
  sync: ['core', 'wire'],
  nest: ['core', 'wire', 'store', 'discovery', 'sync'],
};
const libs = Object.keys(mayImport);
const libRule = (lib) => ({
  files: [`libs/${lib}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: libs
              .filter((other) => other === lib || !mayImport[lib].includes(other))
              .map((other) => `@pgmesh/${other}`),
            message: `libs/${lib} may import only: ${mayImport[lib].join(', ') || 'nothing'}.`,
          },
          { group: ['@pgmesh/*/*'], message: 'A lib is imported by its name alone.' },
          { regex: '(^|/)(libs|apps)/|(\\.\\./){4,}', message: 'Reach other libs by their alias.' },
          ...(lib === 'core'
            ? [{ regex: '^(?!\\.)', message: 'libs/core is pure: it imports nothing.' }]
            : ['store', 'discovery', 'sync', 'wire'].includes(lib)
              ? [{ group: ['@nestjs/*'], message: 'NestJS lives in libs/nest and in apps.' }]
              : []),
        ],
      },
    ],
  },
});

export default tseslint.config(
  { ignores: ['dist/**', 'node_modules/**', 'data/**', 'coverage/**', 'bench/out/**'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  ...libs.map(libRule),
  { files: ['libs/**/*.spec.ts', 'test/**/*.ts'], rules: { 'no-restricted-imports': 'off' } },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        setTimeout: 'readonly',
        require: 'readonly',
        __dirname: 'readonly',
        module: 'writable',
        URL: 'readonly',
        fetch: 'readonly',
        performance: 'readonly',
        Buffer: 'readonly',
      },
    },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
  prettier,
);
