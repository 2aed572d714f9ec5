import { createSecureContext } from 'node:tls';
import type { TlsOptions } from '../../domain/webhook.ts';
import type { TlsIdentity } from './connection.ts';

/** @throws Error when certificate and key can't be read or do not belong together */
export function tlsIdentity(options: TlsOptions | null): TlsIdentity | null {
  if (options === null) return null;
  const { ca, cert, key, passphrase, serverName } = options;
  const context = createSecureContext({
    ...(ca !== null && { ca }),
    ...(cert !== null && { cert }),
    ...(key !== null && { key }),
    ...(passphrase !== null && { passphrase }),
  });
  return { context, serverName };
}
