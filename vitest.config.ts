import { defineConfig } from 'vitest/config';
import { networks } from './tests/support/networks.ts';

// Two processes for all files: to load the sources anew for each took more than most tests of them.
const shared = (setup: string) => ({ isolate: false, setupFiles: [`tests/support/${setup}`] });

export default defineConfig({
  test: {
    // Native addons (ONNX Runtime) and real servers want processes of their own.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: 'unit', include: ['src/**/*.test.ts'], ...shared('as-a-command.ts') } },
      { extends: true, test: { name: 'dashboard', include: ['web/src/**/*.test.ts'], ...shared('as-a-page.ts') } },
      { extends: true, test: { name: 'whole', include: ['tests/**/*.test.ts'], exclude: [...networks] } },
      // After all others, one file at a time.
      { extends: true, test: { name: 'networks', include: [...networks], maxWorkers: 1 } },
    ],
  },
});
