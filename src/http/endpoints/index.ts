import type { Engine } from '../../engine.ts';
import { describeError } from '../../transport/postgres/failures.ts';
import type { MetricsPage } from './metrics.ts';

export interface Reply {
  readonly status: number;
  /** Sent as JSON, or a text as it is when it has a `contentType`. */
  readonly body: unknown;
  readonly contentType?: string;
}

export type Endpoint = (engine: Engine, metrics: MetricsPage) => Reply | Promise<Reply>;

export const endpoints: Readonly<Record<string, Endpoint>> = {
  /** The process is alive. Says nothing about the database: restarting us would not bring it back. */
  '/healthz': () => ({ status: 200, body: { status: 'ok' } }),
  /** Whether changes are observed as they should be, and if not, why. */
  '/readyz': async (engine) => {
    const readiness = await engine.readiness();
    return { status: readiness.ready ? 200 : 503, body: readiness };
  },
  /** For Prometheus; see docs/metrics.md. */
  '/metrics': async (_, metrics) => ({
    status: 200,
    body: await metrics.text(),
    contentType: metrics.contentType,
  }),
  '/api/v1/status': async (engine) => {
    try {
      return { status: 200, body: await engine.status() };
    } catch (error) {
      return { status: 503, body: { error: `database: ${describeError(error)}` } };
    }
  },
};
