import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  build: {
    target: 'es2022',
    outDir: 'dist',
    modulePreload: { polyfill: false },
  },
  plugins: [
    {
      // Vite empties dist, but the Go package embeds it and so it must exist in a fresh clone.
      name: 'keep-dist',
      generateBundle() {
        this.emitFile({ type: 'asset', fileName: '.gitkeep', source: '' });
      },
    },
  ],
});
