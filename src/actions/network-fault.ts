import { errors } from './http/undici.ts';

/** What went wrong below the protocol, in stable words for filters and plain words for people. */
export interface NetworkFault {
  readonly errorClass: string;
  readonly reason: string;
}

const faultsByCode: ReadonlyMap<string, NetworkFault> = new Map(
  (
    [
      ['connection_refused', 'the connection was refused', ['ECONNREFUSED']],
      ['connection_reset', 'the connection was cut', ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ECONNABORTED']],
      ['connection_reset', 'the server closed the connection', ['ECONNECTION']],
      ['dns', 'the host name could not be resolved', ['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA', 'EAI_FAIL', 'EDNS']],
      [
        'unreachable',
        'the host or its network is unreachable',
        ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL'],
      ],
      ['timeout', 'the connection could not be made in time', ['UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT']],
      ['tls', 'the TLS handshake failed', ['EPROTO', 'ETLS']],
      [
        'protocol',
        'the answer was not valid HTTP',
        ['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'],
      ],
      ['closed', 'the destination was closed on this side', ['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']],
    ] as const
  ).flatMap(([errorClass, reason, codes]) => codes.map((code) => [code, { errorClass, reason }] as const)),
);

const outOfTurn: NetworkFault = {
  errorClass: 'protocol',
  reason: 'it answered out of turn, e.g. 100 (Continue) without being asked',
};

const untrusted = 'its certificate is signed by nobody that is trusted here';
const refusesOurs = 'it does not take the client certificate';

const tlsReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  HOSTNAME_MISMATCH: 'its certificate is for another host',
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'it demands a client certificate',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: refusesOurs,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: refusesOurs,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: refusesOurs,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: refusesOurs,
};

function tlsFault(code: string): NetworkFault {
  const why = tlsReasons[code];
  return { errorClass: 'tls', reason: `the TLS handshake failed${why === undefined ? '' : `: ${why}`} (${code})` };
}

/** Names that Node gives to certificates it does not accept, and OpenSSL to handshakes that broke. */
const tlsCode = /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|ERROR_IN_)/;

/** Classifies an error of a socket, of DNS, TLS or undici. Never quotes its message: that may hold a URL. */
export function networkFault(error: unknown): NetworkFault {
  // Its code is that of a connection that broke; undici itself broke it off.
  if (error instanceof errors.SocketError && error.message === 'bad response') return outOfTurn;
  for (const code of codesOf(error)) {
    const fault = faultsByCode.get(code);
    if (fault !== undefined) return fault;
    if (tlsCode.test(code)) return tlsFault(code);
    if (code.startsWith('HPE_')) return { errorClass: 'protocol', reason: `the answer was not valid HTTP (${code})` };
  }
  // undici's parser error has no code when the answer does not even begin like HTTP.
  if (error instanceof errors.HTTPParserError)
    return { errorClass: 'protocol', reason: 'the answer was not valid HTTP' };
  const [code] = codesOf(error);
  return {
    errorClass: 'network',
    reason: code === undefined ? 'the connection failed' : `the connection failed (${code})`,
  };
}

/** From the outermost error to its causes; of several attempted addresses, the first one's. */
function codesOf(error: unknown, depth = 0): string[] {
  if (typeof error !== 'object' || error === null || depth > 4) return [];
  const { code, originalCode, cause, errors } = error as Record<string, unknown>;
  // nodemailer puts its own code over the system's and keeps that one as originalCode, which tells more.
  const own = [originalCode, code].filter((value): value is string => typeof value === 'string' && value !== 'ESOCKET');
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  return [...own, ...codesOf(cause, depth + 1), ...codesOf(first, depth + 1)];
}
