/**
 * Names of nodes and rooms as they may arrive from outside. They end in logs, pages and headers, so that nothing with
 * a meaning there (line breaks, angle brackets, quotes, slashes) is let in, and nothing longer than a DNS label.
 */
const NAME = /^[\p{L}\p{N}][\p{L}\p{N}._:-]*$/u;
const MOST_BYTES = 63;

export function isNodeName(text: string): boolean {
  return NAME.test(text) && Buffer.byteLength(text) <= MOST_BYTES;
}
