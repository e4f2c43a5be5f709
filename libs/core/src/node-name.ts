/**
 * Names of nodes and rooms as they may arrive from outside. They end in logs, pages and headers, so that nothing with
 * a meaning there (line breaks, angle brackets, quotes, slashes) is let in, and nothing longer than a DNS label. ASCII alone,
 * so that JavaScript and PostgreSQL order them alike: versions with equal stamps are told apart by it.
 */
const form = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export function isNodeName(text: string): boolean {
  return form.test(text);
}
