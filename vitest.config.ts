import { defineConfig } from 'vitest/config'

// Read by the emulated CUDA library of test/native/cuda.test.ts when it is loaded: devices to break and one to go on with.
process.env.TERSOR_CUDA_EMULATE_DEVICES ??= '3'

/**
 * Two projects: `unit` (npm test) and `packaging` (npm run test:packaging: packs and installs, minutes).
 * Forked processes: a crash of the addon takes one file down, not the run. Files share a process and its modules (the library is evaluated once for each
 * worker, not for each file: a third of the time), so helpers have no hooks of their own (test/clean-up.ts) and test/setup.ts collects garbage in between.
 */
export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    isolate: false,
    execArgv: ['--expose-gc'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // These are CommonJS with __dirname and require: Node loads them, not the test runner's module graph.
    server: { deps: { external: [/\/ts\/(native\/load|data\/loader\/worker-file|runtime\/worker\/worker-file)\.cjs$/] } },
    coverage: { provider: 'v8', include: ['ts/**/*.ts'], exclude: ['**/*.gen.ts'], reporter: ['text-summary', 'html'] },
    projects: [
      { extends: true, test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/packaging/**'] } },
      { extends: true, test: { name: 'packaging', include: ['test/packaging/**/*.test.ts'], testTimeout: 600_000, hookTimeout: 600_000 } },
    ],
  },
})
