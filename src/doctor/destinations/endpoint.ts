import { isLoopback } from '../../actions/email/transport.ts';
import type { Destination, EmailDestination, SlackDestination, WebhookDestination } from '../../domain/rules.ts';

/** Where a destination is, as far as that is known before there is an event. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte. */
  readonly tls: boolean;
  /** Its data crosses a network in the clear. */
  readonly exposed: boolean;
}

/** null: nothing to connect to, or only events know. */
export function endpointOf(destination: Destination): Endpoint | null {
  if (destination.kind === 'webhook') return webhookEndpoint(destination);
  if (destination.kind === 'email') return emailEndpoint(destination);
  if (destination.kind === 'slack') return fromUrl(new URL(slackUrl(destination)));
  if (destination.kind === 'sql' && destination.database !== null) return databaseEndpoint(destination.database);
  return null;
}

/** null: by a socket of this host. */
function databaseEndpoint(database: string): Endpoint | null {
  const url = new URL(database);
  const host = url.searchParams.get('host') ?? bare(url.hostname);
  if (host === '' || host.startsWith('/')) return null;
  return { host, port: Number(url.port || '5432'), tls: false, exposed: false };
}

function webhookEndpoint({ url, urlTemplate }: WebhookDestination): Endpoint | null {
  if (urlTemplate === null) return fromUrl(new URL(url));
  return urlTemplate.origin === null ? null : fromUrl(new URL(urlTemplate.origin));
}

export const slackUrl = ({ auth }: SlackDestination): string =>
  auth.kind === 'token' ? (auth.apiUrl ?? 'https://slack.com/api/') : auth.webhookUrl;

function emailEndpoint({ smtp }: EmailDestination): Endpoint {
  if (typeof smtp !== 'string') {
    const port = smtp.port ?? (smtp.secure ? 465 : 587);
    return { host: smtp.host, port, tls: smtp.secure, exposed: false };
  }
  const url = new URL(smtp);
  const tls = url.protocol === 'smtps:' || url.searchParams.get('secure') === 'true';
  const port = url.port === '' ? (tls ? 465 : 587) : Number(url.port);
  return { host: bare(url.hostname), port, tls, exposed: false };
}

function fromUrl(url: URL): Endpoint {
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  return { host: bare(url.hostname), port, tls, exposed: !tls && !isLoopback(url.hostname) };
}

/** `[::1]` is `::1`. */
const bare = (host: string): string => host.replace(/^\[(.*)\]$/, '$1');
