/**
 * @file Compiles the AssemblyScript kernels to src/tensor/kernels/kernels.generated.ts.
 * Run `npx tsx scripts/build-kernels.ts` after a change of src/tensor/kernels/assembly/; a test compares the bytes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = new URL('../src/tensor/kernels/', import.meta.url);
const entryFile = 'index.ts';
const flags = '-O3 --noAssert --runtime stub --importMemory --noExportMemory --enable simd'.split(' ');

interface Compiler {
  main(
    args: readonly string[],
    host: {
      readFile(name: string): string | null;
      writeFile(name: string, contents: string | Uint8Array): void;
      listFiles(): readonly string[];
    },
  ): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}

/** Imported by a computed name: the compiler's types would declare AssemblyScript's globals for the whole project. */
async function loadCompiler(): Promise<Compiler> {
  const name: string = 'assemblyscript/asc';
  return (await import(name)) as Compiler;
}

/** The module's bytes; the same for the same sources and compiler version. */
export async function compileKernels(): Promise<Uint8Array> {
  let binary: Uint8Array | null = null;
  const compiler = await loadCompiler();
  const { error, stderr } = await compiler.main([entryFile, '--outFile', 'kernels.wasm', ...flags], {
    readFile: (name) => {
      try {
        return readFileSync(new URL(`assembly/${name}`, folder), 'utf8');
      } catch {
        return null; // the compiler asks for candidates that need not exist
      }
    },
    writeFile: (name, contents) => {
      if (name === 'kernels.wasm' && typeof contents !== 'string') binary = contents.slice();
    },
    listFiles: () => [],
  });
  if (error !== null) throw new Error(`the kernels do not compile: ${error.message}\n${stderr.toString()}`);
  if (binary === null) throw new Error('the compiler wrote no module');
  return binary;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const lines =
    Buffer.from(await compileKernels())
      .toString('base64')
      .match(/.{1,116}/g) ?? [];
  const source = [
    '/** @file Written by scripts/build-kernels.ts from assembly/*.ts; do not edit. */',
    '',
    '// prettier-ignore',
    `export const kernelsBase64 =\n  '${lines.join("' +\n  '")}';`,
    '',
  ];
  writeFileSync(new URL('kernels.generated.ts', folder), source.join('\n'));
  console.error('kernels.generated.ts written');
}
