import { z } from 'zod';

/** One line of the table of settings: what it is called everywhere, what it takes, and what it means. */
export interface Setting<Value = unknown> {
  /** The environment variable. */
  readonly variable: string;
  /** The command line's option, as commander writes it; null when there is none. */
  readonly flag: string | null;
  /** From text to value. */
  readonly type: z.ZodType<Value, string>;
  /** What holds when nothing is said; a text, since it is read like any other. Undefined: nothing is set then. */
  readonly fallback: string | undefined;
  /** What people are told instead of the fallback, where it depends on the machine or on other settings. */
  readonly fallbackMeaning?: string;
  readonly meaning: string;
  readonly example: string;
  /** Never printed: not in errors, not in logs. */
  readonly secret?: boolean;
}

/** Seconds unless a unit is written: `30`, `30s`, `500ms`, `2m`, `30d`. The value is in milliseconds. */
export function duration(least: number, most: number) {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
  return z
    .string()
    .transform((text) => /^(\d{1,9}(?:\.\d{1,3})?)\s*(ms|s|m|h|d)?$/.exec(text))
    .refine((match) => match !== null, 'is no time span. Write a number and a unit: 500ms, 30s, 5m, 30d')
    .transform((match) => Math.round(Number(match![1]) * units[(match![2] ?? 's') as keyof typeof units]))
    .refine(
      (ms) => ms >= least && ms <= most,
      `must lie between ${spanOf(least)} and ${spanOf(most)}. A number without a unit is in seconds; write ms for milliseconds`,
    );
}

/** The same, or `off`, which is null. */
export function durationOrOff(least: number, most: number) {
  return z.string().transform((text, context) => {
    if (text === 'off') return null;
    const span = duration(least, most).safeParse(text);
    if (span.success) return span.data;
    for (const { message } of span.error.issues) context.addIssue({ code: 'custom', message: `${message}; or off` });
    return z.NEVER;
  });
}

export function wholeNumber(least: number, most: number) {
  return z
    .string()
    .refine((text) => /^-?\d{1,10}$/.test(text), 'is no whole number')
    .transform(Number)
    .refine((value) => value >= least && value <= most, `must lie between ${least} and ${most}`);
}

export const port = wholeNumber(1, 65_535);

/** Zero asks the system for any free port. */
export const listeningPort = wholeNumber(0, 65_535);

export function oneOf<const Choices extends readonly string[]>(...choices: Choices) {
  return z
    .string()
    .refine((text): text is Choices[number] => choices.includes(text), `must be one of: ${choices.join(', ')}`);
}

export const yesOrNo = z
  .string()
  .transform((text) => text.toLowerCase())
  .refine((text) => /^(true|false|1|0|yes|no|on|off)$/.test(text), 'must be true or false')
  .transform((text) => /^(true|1|yes|on)$/.test(text));

/** Parts separated by commas, without blanks around them and without empty ones. */
export const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

export function url(...protocols: readonly string[]) {
  return z
    .string()
    .refine(
      (text) => URL.canParse(text) && protocols.includes(new URL(text).protocol),
      `is no URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
    );
}

function spanOf(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  if (ms % 86_400_000 === 0) return `${ms / 86_400_000}d`;
  return ms % 3_600_000 === 0 ? `${ms / 3_600_000}h` : ms % 60_000 === 0 ? `${ms / 60_000}m` : `${ms / 1000}s`;
}
