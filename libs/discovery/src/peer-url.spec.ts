import fc from 'fast-check';
import { isLinkLocal, parsePeerUrl } from './peer-url';

const urlOf = (text: string): string | null => {
  const parsed = parsePeerUrl(text);
  return parsed.ok ? parsed.url : null;
};
const reasonOf = (text: string): string | null => {
  const parsed = parsePeerUrl(text);
  return parsed.ok ? null : parsed.reason;
};

describe('a peer URL', () => {
  it.each([
    ['http://Node1.Example:80/', 'http://node1.example'],
    ['https://node1.example:443//', 'https://node1.example'],
    [' http://127.0.0.1:8001 ', 'http://127.0.0.1:8001'],
    ['http://0x7f.1:8001', 'http://127.0.0.1:8001'],
    ['https://a.ngrok.app/mesh/', 'https://a.ngrok.app/mesh'],
    ['http://[2001:DB8::1]:8001/a/../b', 'http://[2001:db8::1]:8001/b'],
  ])('%j has the normal form %s', (text, url) => expect(urlOf(text)).toBe(url));

  it.each([
    ['', 'not_a_url'],
    ['127.0.0.1:8001', 'not_a_url'],
    ['http://', 'not_a_url'],
    ['http://a\r\nX-Evil: 1', 'not_a_url'],
    ['http://a\\b', 'not_a_url'],
    ['http://host:99999', 'not_a_url'],
    ['localhost:8001', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['javascript:alert(1)', 'scheme'],
    ['ws://a:1', 'scheme'],
    ['http://name:word@a:1', 'credentials'],
    ['http://name@a:1', 'credentials'],
    ['http://a?x=1', 'query_or_fragment'],
    ['http://a/#', 'query_or_fragment'],
    ['http://169.254.169.254/latest/meta-data', 'link_local'],
    ['http://2852039166/', 'link_local'],
    ['http://0xA9FEA9FE', 'link_local'],
    ['http://169.254.1.1.:80', 'link_local'],
    ['http://[fe80::1]:8001', 'link_local'],
    ['http://[febf:ffff::1]', 'link_local'],
    ['http://[::ffff:169.254.169.254]', 'link_local'],
    ['http://[::169.254.169.254]', 'link_local'],
    ['http://[64:ff9b::a9fe:a9fe]', 'link_local'],
    ['http://0.0.0.0:8001', 'no_destination'],
    ['http://[::]:8001', 'no_destination'],
    ['http://224.0.0.251', 'no_destination'],
    ['http://a:0', 'no_destination'],
    [`http://a/${'x'.repeat(3000)}`, 'too_long'],
  ])('%j is refused as %s', (text, reason) => expect(reasonOf(text)).toBe(reason));

  it('is refused without its password being repeated', () => {
    for (const text of ['http://me:pa55word@a', 'ftp://me:pa55word@a', 'me:pa55word@a:1 b', 'http//me:pa55word@a?']) {
      const parsed = parsePeerUrl(text);
      expect(parsed.ok).toBe(false);
      expect(JSON.stringify(parsed)).not.toContain('pa55word');
    }
  });

  it('is judged without an exception, whatever the text, and says what to do', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.webUrl(),
          fc.string().map((s) => `http://${s}`),
        ),
        (text) => {
          const parsed = parsePeerUrl(text);
          if (!parsed.ok) expect(parsed.message.length).toBeGreaterThan(20);
        },
      ),
    );
  });

  it('in normal form is its own normal form', () => {
    fc.assert(
      fc.property(fc.webUrl(), (text) => {
        const url = urlOf(text);
        fc.pre(url !== null);
        expect(urlOf(url)).toBe(url);
        expect(url).not.toMatch(/\/$/);
      }),
    );
  });

  it('is link-local for every address of the two ranges, however it is written', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), fc.constantFrom('http', 'https'), (low, scheme) => {
        const number = (169 * 2 ** 24 + 254 * 2 ** 16 + low) >>> 0;
        const dotted = `169.254.${low >> 8}.${low & 255}`;
        for (const host of [dotted, String(number), `0x${number.toString(16)}`, `[::ffff:${dotted}]`]) {
          expect(reasonOf(`${scheme}://${host}:8001`)).toBe('link_local');
        }
        expect(isLinkLocal(`fe80::${low.toString(16)}`)).toBe(true);
        expect(isLinkLocal(`10.0.${low >> 8}.${low & 255}`)).toBe(false);
      }),
    );
  });
});
