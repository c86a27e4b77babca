/// <reference types="vitest/config" />
import { defineConfig } from 'vite';

// TensorBoard imports static/index.js as a module and calls its render(); everything
// beside it is found relative to that file. Style sheets are imported with `?inline`,
// because an entry that is a module has no HTML that could link to them.
export default defineConfig(({ mode }) => ({
  base: './',
  build: {
    outDir: '../tb_gradscope/static',
    emptyOutDir: true,
    target: 'es2022',
    sourcemap: mode === 'development' ? 'inline' : false,
    license: { fileName: 'LICENSES.md' },
    rolldownOptions: {
      input: 'src/index.ts',
      preserveEntrySignatures: 'strict',
      output: {
        entryFileNames: 'index.js',
        chunkFileNames: '[name]-[hash].js',
        assetFileNames: '[name]-[hash][extname]',
      },
    },
  },
  test: {
    environment: 'jsdom',
    // One jsdom for each worker rather than for each file: 1 s instead of 7.
    pool: 'vmThreads',
    include: ['src/**/*.test.{ts,tsx}'],
    restoreMocks: true,
  },
}));
