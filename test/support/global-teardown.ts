export default async function globalTeardown(): Promise<void> {
  await globalThis.pgmeshTestServer?.[Symbol.asyncDispose]();
}
