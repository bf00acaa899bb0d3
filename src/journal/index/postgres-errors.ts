/** @file What PostgreSQL and the way to it report, as errors of the journal. Sentences name server, database and role, never a password. */
import { JournalError, type JournalErrorCode } from '../errors.ts';

interface Meaning {
  readonly code: JournalErrorCode;
  readonly advice: string;
  readonly retryable: boolean;
}

const denied = (advice: string): Meaning => ({ code: 'INDEX_DENIED', advice, retryable: false });
const away: Meaning = { code: 'INDEX_AWAY', advice: 'it is tried again', retryable: true };
const full: Meaning = {
  code: 'DISK_FULL',
  advice: 'free disk space of the database; it is tried again',
  retryable: true,
};
const damaged: Meaning = {
  code: 'INDEX_DAMAGED',
  advice: 'remove the schemas of the index; they are made again at the next start',
  retryable: false,
};
const cursor: Meaning = { code: 'BAD_CURSOR', advice: 'take the cursor of an earlier page', retryable: false };

/** By SQLSTATE (PostgreSQL 15, appendix A). */
const meanings: Readonly<Record<string, Meaning>> = {
  '28P01': denied('check the password (PGPASSWORD, or the file of PGPASSFILE) and the role'),
  '28000': denied('the server lets this role in from here in no way: check pg_hba.conf'),
  '3D000': denied('make the database, or name another one'),
  '42501': denied('the role needs the right to create schemas in the database, and its tables must be its own'),
  // Also what a server says that became a standby: another may be promoted.
  '25006': {
    ...denied('the database or the role is read-only: name the primary, or change the role'),
    retryable: true,
  },
  '22P02': cursor,
  '22003': cursor,
  '42P01': damaged,
  '42703': damaged,
  '3F000': damaged,
};

/** By class: the first two characters. */
const classes: Readonly<Record<string, Meaning>> = {
  '08': away, // connection
  '40': away, // deadlock and the like
  '53': away, // resources; 53100 below
  '55': away, // locks
  '57': away, // shut down, cancelled
  '58': away, // the server's own system
  XX: damaged,
};

/** @returns the error itself where it is one of the journal's already */
export function asJournalError(error: unknown, server: string): JournalError {
  if (error instanceof JournalError) return error;
  const { code = '', message = String(error) } = error as { readonly code?: string; readonly message?: string };
  const { code: meant, advice, retryable } = meaningOf(code);
  return new JournalError(meant, `${server}: ${firstLine(message)}${code === '' ? '' : ` (${code})`}; ${advice}`, {
    retryable,
    context: { server, sqlState: code },
    cause: error,
  });
}

function meaningOf(code: string): Meaning {
  if (code === '53100' || code === 'ENOSPC') return full;
  // Without a SQLSTATE it came from the connection: refused, reset, timed out, ended.
  if (!/^[0-9A-Z]{5}$/.test(code)) return away;
  return (
    meanings[code] ?? classes[code.slice(0, 2)] ?? { code: 'IO', advice: 'see the log of the server', retryable: false }
  );
}

const firstLine = (text: string): string => text.split('\n', 1)[0]!.slice(0, 300);
