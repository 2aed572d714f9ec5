import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { OAuth2Client, TlsOptions } from '../../domain/webhook.ts';
import type { Field } from '../field.ts';
import { readUrl } from '../urls.ts';

/** What a webhook destination proves itself with, and whom it believes. Every secret in it is kept for redaction. */

export function readSecrets(field: Field): readonly string[] {
  const secrets: string[] = [];
  for (const item of field.items()) {
    const secret = item.text();
    if (secret === undefined) continue;
    item.secret(secret);
    const problem = secretProblem(secret) ?? (secrets.includes(secret) ? 'is in the list twice' : null);
    if (problem !== null) item.refuse(`this signing secret ${problem}`, secretHint);
    secrets.push(secret);
  }
  return Object.freeze(secrets);
}

// A plain text would have to be read as base64 by some receivers and as bytes by others: signatures that never match.
const secretHint = 'whsec_ and base64 of 24 to 64 random bytes: pg-observers keys generate';

/** Standard Webhooks, "Signature scheme": what signing keys look like. Bytes. */
const keyLengths: Readonly<Record<string, { readonly fits: (length: number) => boolean; readonly wanted: string }>> = {
  whsec_: { fits: (length) => length >= 24 && length <= 64, wanted: '24 to 64' },
  // Ed25519: the seed, or seed and public key.
  whsk_: { fits: (length) => length === 32 || length === 64, wanted: '32 or 64' },
};

function secretProblem(secret: string): string | null {
  if (secret.startsWith('whpk_')) return 'is a public key: the receiver’s half';
  const prefix = Object.keys(keyLengths).find((candidate) => secret.startsWith(candidate));
  const length = keyLengths[prefix ?? ''];
  if (prefix === undefined || length === undefined) return 'does not begin with whsec_';
  const encoded = secret.slice(prefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  // Buffer.from passes over what is not base64 and makes a different key of a mistyped one.
  const again = bytes.toString('base64').replace(/=+$/, '');
  if (again !== encoded.replace(/={1,2}$/, '')) return `is not base64 after ${prefix}`;
  return length.fits(bytes.length) ? null : `has ${bytes.length} bytes instead of ${length.wanted}`;
}

export interface Auth {
  /** What goes along with every request: nothing, or `authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly oauth2: OAuth2Client | null;
}

export function readAuth(field: Field): Auth {
  const [bearer, basic, oauth2] = [field.get('bearer'), field.get('basic'), field.get('oauth2')];
  if (bearer.present) return { headers: readBearer(bearer), oauth2: null };
  if (basic.present) return { headers: readBasic(basic), oauth2: null };
  return { headers: {}, oauth2: oauth2.present ? readOAuth2(oauth2) : null };
}

function readBearer(field: Field): Auth['headers'] {
  const token = field.text() ?? '';
  field.secret(token);
  if (!/^[\x21-\x7e]*$/.test(token))
    field.refuse('`bearer` has characters that no token has', 'white space, or not ASCII');
  return { authorization: `Bearer ${token}` };
}

function readBasic(field: Field): Auth['headers'] {
  const [username, password] = [field.get('username'), field.get('password')];
  const [user, pass] = [username.text() ?? '', password.text() ?? ''];
  if (user.includes(':'))
    username.refuse('`username` has a colon in it', 'it ends the user name in Basic authentication');
  const pair = Buffer.from(`${user}:${pass}`).toString('base64');
  password.secret(pass);
  field.secret(pair);
  return { authorization: `Basic ${pair}` };
}

function readOAuth2(field: Field): OAuth2Client {
  const [tokenUrl, secret] = [field.get('token_url'), field.get('client_secret')];
  const url = readUrl(tokenUrl, 'http');
  if (url !== null && (url.username !== '' || url.password !== '')) {
    tokenUrl.refuse('`token_url` takes no user and password', 'they are client_id and client_secret');
  }
  const clientSecret = secret.text() ?? '';
  secret.secret(clientSecret);
  return Object.freeze({
    tokenUrl: tokenUrl.text() ?? '',
    clientId: field.get('client_id').text() ?? '',
    clientSecret,
    scope: field.get('scope').texts()?.join(' ') ?? null,
    audience: field.get('audience').text() ?? null,
    clientAuth: field.get('client_auth').text() === 'post' ? 'post' : 'basic',
  });
}

export function readTls(field: Field): TlsOptions | null {
  if (!field.present) return null;
  const text = (key: string) => field.get(key).text() ?? null;
  const tls = {
    ca: text('ca'),
    cert: text('cert'),
    key: text('key'),
    passphrase: text('passphrase'),
    serverName: text('server_name'),
  };
  field.get('key').secret(tls.key ?? '');
  field.get('passphrase').secret(tls.passphrase ?? '');
  checkCertificates(field.get('ca'), tls.ca);
  const leaf = checkCertificates(field.get('cert'), tls.cert);
  checkKey(field.get('key'), tls, leaf);
  return Object.freeze(tls);
}

const pemHint = 'PEM begins with -----BEGIN; a file is read by ${file:/path}';

/** @returns the first one */
function checkCertificates(field: Field, text: string | null): X509Certificate | null {
  if (text === null) return null;
  const found = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const [first] = found.map((pem) => new X509Certificate(pem));
    if (first !== undefined) return first;
  } catch {
    // Told below: what OpenSSL says of it helps nobody.
  }
  field.refuse(`\`${field.label}\` is not a certificate in PEM`, pemHint);
  return null;
}

function checkKey(field: Field, { key, passphrase }: TlsOptions, leaf: X509Certificate | null): void {
  if (key === null) return;
  try {
    const parsed = createPrivateKey({ key, ...(passphrase !== null && { passphrase }) });
    if (leaf !== null && !leaf.checkPrivateKey(parsed)) field.refuse('`key` does not belong to `cert`');
  } catch {
    if (passphrase === null && key.includes('ENCRYPTED')) field.refuse('`key` is encrypted', 'write its `passphrase`');
    else if (passphrase !== null) field.refuse('`key` can’t be read with this passphrase');
    else field.refuse('`key` is not a private key in PEM', pemHint);
  }
}
