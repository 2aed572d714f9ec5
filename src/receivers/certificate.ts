import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { bits, context, integer, octets, oid, sequence, set, time, truth, utf8 } from './der.ts';

/*
 * Certificates for a receiver that shows bad ones. Node makes keys but no certificates, openssl need not be there, and
 * files in the package would expire: so they are written here, as much of X.509 (RFC 5280) as it takes.
 */

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  readonly name: string;
  /** DNS names and IPv4 addresses it is for; none for an authority. */
  readonly hosts?: readonly string[];
  readonly from: Date;
  readonly to: Date;
  /** Who signs it; default: itself. */
  readonly issuer?: { readonly name: string; readonly key: string };
  /** It may sign others. */
  readonly isAuthority?: boolean;
}

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));

export function makeCertificate(request: CertificateRequest): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const issuer = request.issuer ?? null;
  const signer: KeyObject = issuer === null ? privateKey : createPrivateKey(issuer.key);
  const content = sequence(
    context(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    commonName(issuer?.name ?? request.name),
    sequence(time(request.from), time(request.to)),
    commonName(request.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    context(3, sequence(...extensions(request))),
  );
  const der = sequence(content, ecdsaWithSha256, bits(sign('sha256', content, signer)));
  const lines = der.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function commonName(name: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(name))));
}

function extensions({ hosts = [], isAuthority = false }: CertificateRequest): Buffer[] {
  const names = hosts.map((host) =>
    isIPv4(host) ? context(7, Buffer.from(host.split('.').map(Number)), false) : context(2, Buffer.from(host), false),
  );
  return [
    ...(isAuthority ? [sequence(oid('2.5.29.19'), truth, octets(sequence(truth)))] : []),
    ...(names.length === 0 ? [] : [sequence(oid('2.5.29.17'), octets(sequence(...names)))]),
  ];
}

/** `expired`, `wrong-host` and `client-certificate` are signed by an authority, or nobody would look any further. */
export const tlsModes = ['good', 'self-signed', 'expired', 'wrong-host', 'client-certificate'] as const;
export type TlsMode = (typeof tlsModes)[number];

export interface TlsMaterial extends Certificate {
  /** The authority, PEM: what a sender has to trust to get as far as the fault. */
  readonly ca: string;
  /** Demands a certificate of this authority, which nobody has. */
  readonly clientCa?: string;
}

const year = 365 * 86_400_000;

export function tlsMaterial(mode: TlsMode, host: string): TlsMaterial {
  const now = Date.now();
  const valid = { from: new Date(now - 86_400_000), to: new Date(now + year) };
  const own = { name: 'pg-observers receiver', hosts: ['localhost', host] };
  const authority = makeCertificate({ name: 'pg-observers receiver authority', ...valid, isAuthority: true });
  const issuer = { name: 'pg-observers receiver authority', key: authority.key };
  switch (mode) {
    case 'self-signed':
      return { ...makeCertificate({ ...own, ...valid }), ca: authority.cert };
    case 'expired': {
      const past = { from: new Date(now - 2 * year), to: new Date(now - year) };
      return { ...makeCertificate({ ...own, ...past, issuer }), ca: authority.cert };
    }
    case 'wrong-host':
      return { ...makeCertificate({ ...own, hosts: ['elsewhere.invalid'], ...valid, issuer }), ca: authority.cert };
    case 'client-certificate':
      return { ...makeCertificate({ ...own, ...valid, issuer }), ca: authority.cert, clientCa: authority.cert };
    case 'good':
      return { ...makeCertificate({ ...own, ...valid, issuer }), ca: authority.cert };
  }
}
