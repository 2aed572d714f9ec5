/**
 * pg-observers as a library: the same engine that `pg-observers run` runs.
 *
 * ```ts
 * import { createEngine, loadConfig } from 'pg-observers';
 * const engine = createEngine(await loadConfig('observers.yaml'));
 * await engine.start();
 * ```
 */
export { type ConfigInput, defineConfig, loadConfig, loadModules, parseConfig } from './config/index.ts';
export type {
  CustomAction,
  CustomAttempt,
  CustomContext,
  CustomDestination,
  CustomOutcome,
  CustomTools,
} from './domain/custom-action.ts';
export { ConfigError, type ConfigProblem, UserError } from './domain/errors.ts';
export type { EventRecord } from './domain/event.ts';
export type { Config } from './domain/rules.ts';
export type { Telemetry, TelemetryEvent } from './domain/telemetry.ts';
export {
  createEngine,
  type DestinationStatus,
  type Engine,
  type EngineOptions,
  type EngineStatus,
  type Readiness,
} from './engine.ts';
