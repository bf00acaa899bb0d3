/**
 * @file How the dashboard is built: relative addresses, so that `dist/` works below any path and from any static host; no
 * source of it is fetched from elsewhere. `npm run build:web`.
 */
import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  publicDir: 'public',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2023',
    // A page's code is small; an inlined asset would need `data:` in the content policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { port: 4681, proxy: { '^/(api|journal|ledger|store|status)': 'http://127.0.0.1:4680' } },
});
