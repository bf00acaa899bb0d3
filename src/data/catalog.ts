/**
 * @file The catalog of a prepared corpus: its tokenizer and its shards, as the run manifest lists them, with the file
 * names in the corpus folder. Format 1 is of the corpus that a clone prepares; 2, of `accrete data prepare`, adds documents a
 * shard, the shards' one size and the start of text. Another number is refused, not guessed at.
 */
import { z } from 'zod';
import { artifactRefSchema, shardSchema } from '../protocol/manifest.ts';
import { countSchema } from '../protocol/names.ts';
import { DataError } from './errors.ts';

/** Of a data folder: the name of the catalog's folder, and of the catalog. */
export const preparedName = 'prepared';

const fileNameSchema = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'expected a plain file name');
const fileSchema = z.strictObject({ file: fileNameSchema, artifact: artifactRefSchema });

export const catalogSchema = z.strictObject({
  version: z.union([z.literal(1), z.literal(2)]),
  preset: z.string().min(1).max(64),
  vocabSize: countSchema.min(1),
  /** Closes documents; pads. */
  endOfText: countSchema,
  /** Null: the tokenizer has none. Absent in format 1: the token after end of text. */
  startOfText: countSchema.nullable().optional(),
  /** Tokens of every shard but the last of a source, stage and licence. */
  shardTokens: countSchema.min(1).optional(),
  tokenizer: fileSchema,
  tokenizerConfig: fileSchema,
  /** Source name → integer share that a run starts from. */
  mixture: z.record(z.string(), countSchema.min(1)),
  shards: z
    .array(
      shardSchema.extend({
        file: fileNameSchema,
        about: z.string().max(200),
        /** Documents that end in the shard: as many as it has ends of text. */
        documents: countSchema.optional(),
      }),
    )
    .min(1)
    .max(100_000),
});
export type Catalog = z.infer<typeof catalogSchema>;
export type CatalogShard = Catalog['shards'][number];

/** Parses a catalog file's text; DAMAGED where it is not one. */
export function parseCatalog(text: string, where: string): Catalog {
  const damaged = (why: string, cause?: unknown): DataError =>
    new DataError('DAMAGED', `${where}: ${why}; delete its folder and prepare the corpus again`, { cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged('expected JSON', cause);
  }
  const parsed = catalogSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw damaged(`${issue?.path.join('.')}: ${issue?.message}`);
}

/** The shards as the manifest holds them. */
export function manifestShards(catalog: Catalog): Omit<CatalogShard, 'file' | 'about' | 'documents'>[] {
  return catalog.shards.map(({ source, artifact, tokens, licence, stage }) => ({
    source,
    artifact,
    tokens,
    licence,
    stage,
  }));
}
