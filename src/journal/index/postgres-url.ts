/** @file The address of an index in PostgreSQL: `postgres://USER@HOST:PORT/DATABASE?schema=NAME`, checked and taken apart. */
import type { PostgresTarget } from './postgres-pool.ts';

/** Of `pg`: others could change where tables are looked up. */
const knownParameters = ['schema', 'host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'];
const defaultSchema = 'accrete';

/** @returns what is wrong with it instead, as a sentence after the address's option; passwords are not repeated */
export function parsePostgresUrl(text: string): PostgresTarget | string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:'))
    return 'expected postgres://USER@HOST:PORT/DATABASE';
  const unknown = [...url.searchParams.keys()].find((name) => !knownParameters.includes(name));
  if (unknown !== undefined)
    return `parameter '${unknown.slice(0, 40)}' is not known; known: ${knownParameters.join(', ')}`;
  const database = url.pathname.slice(1);
  if (database === '' || database.includes('/')) return 'name one database: postgres://USER@HOST:PORT/DATABASE';
  const schema = url.searchParams.get('schema') ?? defaultSchema;
  if (!/^[a-z][a-z0-9_]{0,30}$/.test(schema))
    return 'schema: expected up to 31 lower-case letters, digits and _, with a letter first';
  url.searchParams.delete('schema');
  const host = url.searchParams.get('host') ?? (url.host || 'localhost');
  return { connectionString: url.href, server: `PostgreSQL at ${host}, database ${database}`, schema };
}

/** Whether it holds a secret, which belongs to no command line. */
export const hasPassword = (text: string): boolean =>
  URL.canParse(text) && (new URL(text).password !== '' || new URL(text).searchParams.has('password'));
