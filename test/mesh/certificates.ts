import { generate } from 'selfsigned';
import type { Certificate } from '../support/proxy';

/** An authority of a test's own, and a certificate that it gave to localhost. */
export interface Authority {
  readonly ca: string;
  readonly localhost: Certificate;
}

export async function makeAuthority(name: string): Promise<Authority> {
  const authority = await generate([{ name: 'commonName', value: name }], {
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    algorithm: 'sha256',
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
    ],
  });
  return { ca: authority.cert, localhost: { key, cert } };
}
