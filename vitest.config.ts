import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Native addons (ONNX Runtime) and real servers want processes of their own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'web/src/**/*.test.ts'],
          // Two processes for all files: to load the sources anew for each took more than most tests of them.
          isolate: false,
          setupFiles: ['tests/support/as-at-the-start.ts'],
        },
      },
      { extends: true, test: { name: 'whole', include: ['tests/**/*.test.ts'] } },
    ],
  },
});
