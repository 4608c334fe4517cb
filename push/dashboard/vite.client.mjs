import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { defineConfig } from 'vite';

// The client for other people's pages and programs: one file, with its types and
// licences beside it.

/** Reads the declarations that tsc has made, without what joins the files. */
async function declarations() {
  await promisify(execFile)('npx', ['tsc', '-p', 'tsconfig.client.json']);
  const parts = ['transport/messages', 'client/naru'].map((name) => readFile(`.unit/types/${name}.d.ts`, 'utf8'));
  return (await Promise.all(parts)).join('\n').replaceAll(/^import .*\n|^export \{\};\n/gm, '');
}

/** What the file contains of others. */
const libraries = ['socket.io-client', 'engine.io-client', 'socket.io-parser', 'engine.io-parser', '@socket.io/component-emitter'];

/** Their licences, which ask for their text to go along. */
async function licences() {
  const texts = libraries.map(async (name) => `${name}\n\n${await readFile(`node_modules/${name}/LICENSE`, 'utf8')}`);
  return (await Promise.all(texts)).join(`\n${'-'.repeat(72)}\n\n`);
}

const banner = '/*! naru.js, Apache-2.0. It contains libraries of Socket.IO under the MIT licence: see licences.txt beside it. */';

export default defineConfig({
  publicDir: false,
  build: {
    target: 'es2022',
    outDir: 'dist/client',
    modulePreload: false,
    rolldownOptions: {
      input: 'src/client/naru.ts',
      preserveEntrySignatures: 'strict',
      output: { entryFileNames: 'naru.js', codeSplitting: false, postBanner: banner },
    },
  },
  plugins: [
    {
      name: 'beside',
      async generateBundle() {
        this.emitFile({ type: 'asset', fileName: 'naru.d.ts', source: await declarations() });
        this.emitFile({ type: 'asset', fileName: 'licences.txt', source: await licences() });
      },
    },
  ],
});
