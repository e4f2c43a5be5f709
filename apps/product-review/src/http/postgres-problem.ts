import { isNativeError } from 'node:util/types';
import { DatabaseError } from 'pg';
import { Problem, ProblemShape } from './problem';

/** Seconds after which a client may try again what failed for no fault of its own. */
const RETRY_AFTER = '1';

/**
 * What PostgreSQL refused, as an answer; undefined when the error is not one that a client can cause or wait out.
 * SQLSTATEs: PostgreSQL manual, appendix A. Never passes on the DETAIL of a failed CHECK, which prints the whole row.
 */
export function postgresProblem(error: unknown): Problem | undefined {
  if (isConnectionLoss(error)) return retryLater('database_away', 'The database cannot be reached. Try again shortly.');
  if (!(error instanceof DatabaseError)) return undefined;
  const shape = refusals[error.code ?? '']?.(error);
  if (shape) return new Problem(shape);
  switch (error.severity === 'FATAL' ? 'session ended' : error.code?.slice(0, 2)) {
    case 'session ended': // or never begun: no such database, wrong password, not accepting connections
    case '08': // connection exceptions
    case '53': // insufficient resources
    case '57': // operator intervention: shutdown, crash recovery, cancelled statements
      return retryLater('database_away', 'The database cannot answer now. Try again shortly.');
    case '22': // data exceptions: a value that its type cannot hold
      return new Problem({ status: 400, code: 'invalid_value', detail: `A value cannot be stored: ${error.message}.` });
    default:
      return undefined;
  }
}

const refusals: Record<string, (error: DatabaseError) => ProblemShape> = {
  '23502': ({ column }) => ({
    status: 422,
    code: 'value_missing',
    detail: `${column} must have a value.`,
    errors: [{ field: column ?? '', detail: 'must have a value' }],
  }),
  '23503': (error) => {
    const { columns, key } = keyOf(error);
    const missing = `no row with ${columns} ${key} to refer to`;
    return {
      status: 422,
      code: 'reference_missing',
      detail: `There is ${missing} (${error.constraint}). Create it first, or refer to one that exists.`,
      errors: [{ field: columns, detail: missing }],
    };
  },
  '23505': (error) => {
    const { columns, key } = keyOf(error);
    return {
      status: 409,
      code: 'already_exists',
      detail: `There is a row with ${columns} ${key} already. Change that one, or choose another ${columns}.`,
      errors: [{ field: columns, detail: 'is taken' }],
    };
  },
  '23514': ({ table, constraint }) => ({
    status: 422,
    code: 'check_failed',
    detail: `The row breaks the rule ${constraint} of ${table}.`,
  }),
  '25006': () => unavailable('database_read_only', 'The database takes no writes now. Try again shortly.'),
  '40001': () => unavailable('try_again', 'Another write came in between. Try again.'),
  '40P01': () => unavailable('try_again', 'Two writes waited for each other. Try again.'),
  '55P03': () => unavailable('try_again', 'The row is locked by another write. Try again.'),
};

/** `Key (product_id)=(0190…) is not present …`: the form is the same in every language of the server's messages. */
function keyOf({ detail, constraint }: DatabaseError): { columns: string; key: string } {
  const [, columns = constraint ?? 'key', key = ''] = /\((.+?)\)=\((.*?)\)/s.exec(detail ?? '') ?? [];
  return { columns, key };
}

function unavailable(code: string, detail: string): ProblemShape {
  return { status: 503, code, detail, headers: { 'retry-after': RETRY_AFTER } };
}

const retryLater = (code: string, detail: string) => new Problem(unavailable(code, detail));

const socketErrors = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'ENOENT']);
/** The pg driver has no codes for these. */
const driverMessages =
  /^Connection terminated|^timeout exceeded when trying to connect|not queryable$|^Cannot use a pool after calling end/;

function isConnectionLoss(error: unknown): boolean {
  if (!isNativeError(error) || error instanceof DatabaseError) return false;
  const { code, syscall, errors } = error as NodeJS.ErrnoException & { errors?: unknown };
  if (Array.isArray(errors)) return errors.some(isConnectionLoss); // one for each address of a host name
  const bySocket = code !== undefined && socketErrors.has(code) && /connect|read|write|getaddrinfo/.test(syscall ?? '');
  return bySocket || driverMessages.test(error.message);
}
