import type { ViteUserConfig } from 'vitest/config';

const source = (path: string) => new URL(`./src/${path}`, import.meta.url).pathname;

const punctual = [
  ...['decoys', 'endings', 'escapees', 'faults', 'lease'].map((name) => `test/managed-child/${name}.test.ts`),
  // Alone, too: a publisher that starts ends every orphan on the host.
  'test/cli/orphans.test.ts',
  'test/publisher/demo.test.ts',
  'test/publisher/refusals.test.ts',
  'test/publisher/stopping.test.ts',
  'test/e2e/dashboard-many.test.ts',
];

// Inherited by all that the tests start: most of it is a Node that runs src/, and half of its start is compiling.
process.env.NODE_COMPILE_CACHE ??= new URL('./node_modules/.cache/holdfast-tests', import.meta.url).pathname;

/** Real players, which come from Debian and take their time: `npm run test:clients`, not part of `npm test`. */
const clients = 'test/clients/**';

/** What hangs is found by it; no time that is promised. Under load tests have taken twelve times as long. */
const hangMs = process.env.HOLDFAST_TEST_LOAD ? 120_000 : 60_000;

const config: ViteUserConfig = {
  resolve: {
    alias: [
      { find: /^holdfast$/, replacement: source('index.ts') },
      { find: /^holdfast\/(.+)$/, replacement: source('$1/index.ts') },
    ],
  },
  test: {
    projects: process.env.HOLDFAST_TEST_CLIENTS
      ? [
          {
            extends: true,
            test: { name: 'clients', include: [`${clients}/*.test.ts`], maxWorkers: 1, maxConcurrency: 1 },
          },
        ]
      : [
          { extends: true, test: { name: 'most', include: ['test/**/*.test.ts'], exclude: [...punctual, clients] } },
          // After all others, one or two at a time: they promise times that hold where a core can be had.
          {
            extends: true,
            test: {
              name: 'punctual',
              include: punctual,
              maxWorkers: 1,
              maxConcurrency: 2,
              sequence: { groupOrder: 1 },
            },
          },
        ],
    pool: 'forks',
    // Most of their time they wait for other processes.
    maxWorkers: 3,
    maxConcurrency: 4,
    setupFiles: ['test/support/setup.ts'],
    testTimeout: hangMs,
    hookTimeout: hangMs,
    unstubGlobals: true,
  },
};

export default config;
