import { HttpException } from '@nestjs/common';

/** One thing that is wrong with a request: the field (`rating`, `items.0.name`) and what is wrong with it. */
export interface FieldError {
  field: string;
  detail: string;
}

/** A problem document (RFC 9457) as it is sent, with our `code` beside the standard members. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: string;
  errors?: FieldError[];
}

export interface ProblemShape {
  status: number;
  code: string;
  /** What happened, to what, and what to do: a sentence for people. */
  detail: string;
  errors?: FieldError[];
  headers?: Record<string, string>;
}

/** An answer other than success, thrown where it is found and written by the ProblemFilter. */
export class Problem extends HttpException {
  readonly code: string;
  readonly errors?: FieldError[];
  readonly headers: Record<string, string>;

  constructor({ status, code, detail, errors, headers = {} }: ProblemShape) {
    super(detail, status);
    this.code = code;
    this.errors = errors;
    this.headers = headers;
  }
}

/** The row, or the 404 that names it. */
export function found<Row>(row: Row | undefined, noun: string, id: string): Row {
  if (row === undefined) {
    throw new Problem({ status: 404, code: 'not_found', detail: `There is no ${noun} with the id ${id}.` });
  }
  return row;
}
