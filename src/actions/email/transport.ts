import { isIPv4 } from 'node:net';
import type { EmailDestination, SmtpServer } from '../../domain/rules.ts';

/** The attempt has its deadline; this only ends waits that no attempt stands behind. */
const backstopMs = 600_000;

/** Loads nodemailer when a mail is to be sent: it takes longer than to read the rules. */
export async function openTransport(destination: EmailDestination) {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({
    pool: true,
    ...(typeof destination.smtp === 'string' ? urlOptions(destination.smtp) : serverOptions(destination.smtp)),
    ...(destination.dkim !== null && { dkim: dkimOptions(destination.dkim) }),
    maxConnections: destination.concurrency,
    maxMessages: destination.maxMessages,
    // Once, for an idle connection that the server has closed meanwhile. Further tries are the retry policy's.
    maxRequeues: 1,
    // A connection cut at a deadline is gone at once; the default says FIN and waits 5 s for the server's.
    socketCloseTimeout: 0,
    connectionTimeout: backstopMs,
    greetingTimeout: backstopMs,
    socketTimeout: backstopMs,
    dnsTimeout: backstopMs,
    // Subject, text and addresses come from data: none of it may name a file or URL to read.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  // An `error` without a listener would end the process; what failed is reported by the mail it failed for.
  transport.on('error', () => {});
  return transport;
}

/** What the URL itself says about TLS holds: it comes after ours. */
function urlOptions(smtp: string) {
  const url = new URL(smtp);
  const hasLogin = url.username !== '' || url.password !== '';
  const says = ['requireTLS', 'ignoreTLS', 'opportunisticTLS'].some((name) => url.searchParams.has(name));
  const required = hasLogin && !says && url.protocol === 'smtp:' && !isLoopback(url.hostname);
  return { url: smtp, ...(required && { requireTLS: true }) };
}

function serverOptions({ host, port, secure, starttls, auth, tls, name }: SmtpServer) {
  return {
    host,
    port: port ?? (secure ? 465 : 587),
    secure,
    requireTLS: starttls === 'required' && !secure,
    ignoreTLS: starttls === 'off',
    ...(auth !== null && {
      auth: { user: auth.user, pass: auth.pass },
      ...(auth.method !== null && { authMethod: auth.method }),
    }),
    ...(name !== null && { name }),
    tls: {
      rejectUnauthorized: tls.rejectUnauthorized,
      ...(tls.ca !== null && { ca: tls.ca }),
      ...(tls.cert !== null && { cert: tls.cert }),
      ...(tls.key !== null && { key: tls.key }),
      ...(tls.serverName !== null && { servername: tls.serverName }),
    },
  };
}

/** A login there crosses no wire. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** nodemailer's own list, and the header that RFC 8058 wants signed beside List-Unsubscribe. */
const signedHeaders = [
  'From:Sender:Reply-To:Subject:Date:Message-ID:To:Cc:MIME-Version:Content-Type:Content-Transfer-Encoding',
  'In-Reply-To:References:List-Id:List-Unsubscribe:List-Unsubscribe-Post',
].join(':');

function dkimOptions({ domain, selector, privateKey }: NonNullable<EmailDestination['dkim']>) {
  return { domainName: domain, keySelector: selector, privateKey, headerFieldNames: signedHeaders };
}
