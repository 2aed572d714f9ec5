import { binariesIn, findBinaries } from '../../src/embedded/binaries.ts';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from '../../src/embedded/embedded-postgres.ts';
import { serviceAccount } from '../../src/embedded/service-account.ts';

const programs = process.env.TEST_POSTGRES_BIN || undefined;

/** A server of the version that is tested: of the programs in the directory TEST_POSTGRES_BIN, or the embedded one. */
export function startServer(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres(programs === undefined ? options : { ...options, programs });
}

/** Of what `startServer` starts: 18, say. */
export async function majorOfServers(): Promise<number> {
  const account = await serviceAccount();
  const { major } = await (programs === undefined ? findBinaries(account) : binariesIn(programs, account));
  return Number(major);
}
