/** `127.0.0.1`, `localhost`, `[::1]`, with or without a port: names that lead nowhere but to this machine. */
export function isLoopbackName(host: string): boolean {
  const name = host
    .replace(/:\d{1,5}$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return name === 'localhost' || name === '::1' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}
