import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { defineConfig } from 'vite';

// The client for other people's pages and programs: one file, and its types in one
// more.

/** Reads the declarations that tsc has made, without what joins the files. */
async function declarations() {
  await promisify(execFile)('npx', ['tsc', '-p', 'tsconfig.client.json']);
  const parts = ['transport/messages', 'client/naru'].map((name) => readFile(`.unit/types/${name}.d.ts`, 'utf8'));
  return (await Promise.all(parts)).join('\n').replaceAll(/^import .*\n|^export \{\};\n/gm, '');
}

export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2022',
    outDir: 'dist/client',
    modulePreload: false,
    rolldownOptions: {
      input: 'src/client/naru.ts',
      preserveEntrySignatures: 'strict',
      output: { entryFileNames: 'naru.js', codeSplitting: false },
    },
  },
  plugins: [
    {
      name: 'declarations',
      async generateBundle() {
        this.emitFile({ type: 'asset', fileName: 'naru.d.ts', source: await declarations() });
      },
    },
  ],
});
