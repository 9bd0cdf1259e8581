// Type-checked rules for everything written in TypeScript; formatting is prettier's business.
import js from '@eslint/js'
import tseslint from 'typescript-eslint'

export default tseslint.config(
  {
    ignores: [
      'dist/**',
      'dist.*/**',
      'build*/**',
      'prebuilds/**',
      'coverage/**',
      '**/*.gen.ts',
      'test/packaging/fixtures/**',
      'bench/rivals/**',
    ],
  },
  { files: ['**/*.ts'], ignores: ['**/*.d.ts'], extends: [js.configs.recommended, ...tseslint.configs.recommendedTypeChecked] },
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'prefer-const': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Shapes and tensors print themselves; what has no toString of its own is caught by no-base-to-string.
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-unsafe-enum-comparison': 'off',
    },
  },
  {
    // The library prints nothing, changes nothing of the process, and compiles to CommonJS too.
    files: ['ts/**/*.ts'],
    rules: {
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'Every random number comes from a seeded generator (ts/base/rng).' },
        { object: 'process', property: 'exit', message: 'Throw a typed error; only the CLI ends the process, through process.exitCode.' },
        { object: 'process', property: 'chdir', message: 'The library changes nothing of the process.' },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: 'MetaProperty[meta.name="import"]', message: 'import.meta does not compile to CommonJS.' },
        { selector: 'Program > ExpressionStatement > AwaitExpression', message: 'Top-level await does not compile to CommonJS.' },
        { selector: 'Program > VariableDeclaration AwaitExpression.init', message: 'Top-level await does not compile to CommonJS.' },
        { selector: 'ExportDefaultDeclaration', message: 'Named exports only: one name for one thing.' },
        {
          selector: 'ThrowStatement > NewExpression[callee.name="Error"]',
          message: 'Throw a TersorError with a code (ts/base/errors.ts).',
        },
      ],
    },
  },
  { files: ['ts/cli/**/*.ts'], rules: { 'no-console': 'off' } },
  {
    // Rivals come without types, and Tersor of another revision has types of its own.
    files: ['bench/contenders/**/*.ts'],
    rules: { '@typescript-eslint/no-unsafe-call': 'off', '@typescript-eslint/no-unsafe-return': 'off' },
  },
  {
    // Tests look inside: what comes out of JSON and of hostile input is any.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
)
