/**
 * The incarnation of a node's database: drawn anew when it was made, restored or copied. Of two incarnations of one node the later
 * one sorts higher, so that nodes agree on which of them is the present one without asking anybody. Nothing that has to be
 * right hangs on that order: two incarnations are two feeds, whichever is the later.
 *
 * Eight digits to the base 36 tell the time in hundredths of a second, which will do until the year 2863; four are drawn.
 */
const tick = 10;
const timeDigits = 8;
const drawnDigits = 4;
/** How many different ones there are of one instant. */
export const incarnationsAtOnce = 36 ** drawnDigits;

/**
 * @param now milliseconds since 1970
 * @param drawn a whole number below `incarnationsAtOnce`
 * @param previous the one that it takes the place of; it sorts above that, whatever the clock says
 */
export function drawIncarnation(now: number, drawn: number, previous: string | null = null): string {
  const least = previous === null ? 0 : parseInt(previous.slice(0, timeDigits), 36) + 1;
  const time = Math.max(Math.floor(now / tick), least);
  return digits(time, timeDigits) + digits(drawn, drawnDigits);
}

export function isLaterIncarnation(one: string, other: string): boolean {
  return one > other;
}

function digits(value: number, count: number): string {
  return value.toString(36).padStart(count, '0');
}
