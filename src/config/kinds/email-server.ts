// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { DkimKey, EmailDestination, SmtpServer } from '../../domain/rules.ts';
import type { Field } from '../field.ts';
import { flag, type JsonSchema, record, text, whole } from '../schema-values.ts';
import { readUrl } from '../urls.ts';

const pem = (what: string) => text(`${what}, PEM.`, { examples: ['${file:/run/secrets/mail.pem}'] });

/** `smtp`: a URL, or its parts. */
export const smtpSchema: JsonSchema = {
  ...record(
    'The server: an smtp:// or smtps:// URL, credentials inside, or its parts.',
    {
      host: text('Name or address.', { examples: ['mail.example.com'] }),
      port: whole('Default: 587, with `secure` 465.', 1, 65_535),
      secure: flag('TLS from the first byte; without it by STARTTLS.', false),
      starttls: {
        description:
          '`required`: nothing is sent without it. `offered`: when the server offers it, it must succeed. `off`: never. Default: `required` with a login, save on the loopback, else `offered`.',
        enum: ['required', 'offered', 'off'],
      },
      auth: record(
        'The login.',
        {
          user: text('User.'),
          pass: text('Password.', { examples: ['${SMTP_PASSWORD}'] }),
          method: { description: 'Default: the best that the server offers.', enum: ['PLAIN', 'LOGIN', 'CRAM-MD5'] },
        },
        { required: ['user', 'pass'] },
      ),
      tls: record('How TLS is made.', {
        ca: pem('Certificates to trust instead of the usual ones'),
        cert: pem("This side's certificate"),
        key: pem('Its key'),
        server_name: text('The name that its certificate must have. Default: the host.'),
        reject_unauthorized: flag('`false` takes any certificate: for tests.', true),
      }),
      name: text('What this side calls itself (EHLO). Default: the name of this host.'),
    },
    { required: ['host'] },
  ),
  type: ['string', 'object'],
  minLength: 1,
  examples: ['${SMTP_URL}', 'smtps://user:password@mail.example.com'],
};

export const dkimSchema = record(
  'Signs each mail (DKIM, rsa-sha256).',
  {
    domain: text('Default: the one of `from`.', { pattern: '^[^\\s;=@]+$|\\$\\{', errorMessage: 'A domain' }),
    selector: text('Names the key: the record is SELECTOR._domainkey.DOMAIN.', {
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$|\\$\\{',
      errorMessage: 'Letters, digits, `-`, `_` and `.`',
    }),
    private_key: pem('RSA key'),
  },
  { required: ['selector', 'private_key'] },
);

export function readSmtp(field: Field): EmailDestination['smtp'] {
  if (typeof field.value !== 'object' || field.value === null) {
    readUrl(field, 'smtp');
    return field.text() ?? '';
  }
  const host = readHost(field.get('host'));
  const secure = field.get('secure').flag() ?? false;
  const auth = readAuth(field.get('auth'));
  const starttls = field.get('starttls');
  if (secure && starttls.present)
    starttls.refuseKey('`starttls` is for connections that begin without TLS', 'remove it, or `secure`');
  return Object.freeze({
    host,
    port: field.get('port').number() ?? null,
    secure,
    starttls: (starttls.text() as SmtpServer['starttls'] | undefined) ?? defaultStarttls(host, auth),
    auth,
    tls: readTls(field.get('tls')),
    name: field.get('name').text() ?? null,
  });
}

function readHost(field: Field): string {
  const host = field.text() ?? '';
  if (/[\s/@]/.test(host)) field.refuse('`host` is not the name of a host', 'without smtp:// and without a port');
  return host;
}

/** A password crosses no wire in clear text, unless the file says so. */
function defaultStarttls(host: string, auth: SmtpServer['auth']): SmtpServer['starttls'] {
  const isLoopback = host === 'localhost' || host === '::1' || /^127\.[\d.]+$/.test(host);
  return auth === null || isLoopback ? 'offered' : 'required';
}

function readAuth(field: Field): SmtpServer['auth'] {
  if (!field.present) return null;
  const [user, pass] = [field.get('user').text() ?? '', field.get('pass').text() ?? ''];
  field.secret(pass);
  return Object.freeze({ user, pass, method: field.get('method').text() ?? null });
}

function readTls(field: Field): SmtpServer['tls'] {
  const [ca, cert, key] = [field.get('ca'), field.get('cert'), field.get('key')];
  if (key.text() !== undefined) key.secret(key.text() ?? '');
  for (const one of [ca, cert]) if (one.present) checkCertificate(one);
  if (key.present) readKey(key);
  if (cert.present !== key.present)
    field.refuseKey('`cert` and `key` belong together', cert.present ? 'add the `key`' : 'add the `cert`');
  return Object.freeze({
    ca: ca.text() ?? null,
    cert: cert.text() ?? null,
    key: key.text() ?? null,
    serverName: field.get('server_name').text() ?? null,
    rejectUnauthorized: field.get('reject_unauthorized').flag() ?? true,
  });
}

const pemHint = 'PEM text, such as ${file:/run/secrets/mail.pem}';

function checkCertificate(field: Field): void {
  const text = field.text();
  if (text === undefined) return;
  try {
    new X509Certificate(text);
  } catch {
    field.refuse(`\`${field.label}\` is not a certificate`, pemHint);
  }
}

function readKey(field: Field): KeyObject | null {
  const text = field.text();
  if (text === undefined) return null;
  field.secret(text);
  try {
    return createPrivateKey(text);
  } catch {
    field.refuse(`\`${field.label}\` is not a private key without a passphrase`, pemHint);
    return null;
  }
}

export function readDkim(field: Field, from: string): DkimKey | null {
  if (!field.present) return null;
  const key = field.get('private_key');
  const object = readKey(key);
  if (object !== null && object.asymmetricKeyType !== 'rsa') {
    key.refuse('`private_key` is not an RSA key', 'make one: openssl genrsa -out dkim.pem 2048');
  } else if ((object?.asymmetricKeyDetails?.modulusLength ?? 2048) < 1024) {
    key.refuse('`private_key` has less than 1024 bits, which no receiver accepts', 'openssl genrsa -out dkim.pem 2048');
  }
  const domain = field.get('domain').text() ?? from.replace(/^.*@/s, '').replace(/[>\s].*$/s, '');
  return Object.freeze({ domain, selector: field.get('selector').text() ?? '', privateKey: key.text() ?? '' });
}
