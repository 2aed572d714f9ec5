import { hostname } from 'node:os';
import { Command, Option } from 'commander';
import { UserError } from '../../domain/errors.ts';
import type { Config } from '../../domain/rules.ts';
import type { Engine } from '../../engine.ts';
import type { HttpServer } from '../../http/server.ts';
import type { createLogger, HiddenSecrets, LogLevel } from '../../telemetry/log.ts';
import type { Tracing } from '../../telemetry/traces.ts';
import { redactUrl } from '../../transport/postgres/failures.ts';
import { programVersion } from '../../transport/postgres/program-version.ts';
import { type ConfigOptions, configOption, databaseOption, duration, readConfig } from '../options.ts';

interface Options extends ConfigOptions {
  readonly apply: boolean;
  readonly shutdownTimeout: number;
  readonly logLevel: LogLevel;
}

type Logger = ReturnType<typeof createLogger>;

export function runCommand(): Command {
  return new Command('run')
    .description('Observes the database and delivers, until stopped')
    .addOption(configOption())
    .addOption(databaseOption())
    .option('--no-apply', 'neither migrate nor install triggers: the role may not, or somebody else does')
    .addOption(
      new Option('--shutdown-timeout <duration>', 'how long attempts in flight may take to end after SIGTERM')
        .argParser(duration)
        .default(30_000, '30s'),
    )
    .addOption(
      new Option('--log-level <level>', 'what to log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .env('PG_OBSERVERS_LOG_LEVEL'),
    )
    .addOption(new Option('--json', 'logs are JSON lines always; accepted for uniformity').hideHelp())
    .addHelpText(
      'after',
      `
Signals: SIGTERM and SIGINT stop it; attempts in flight get --shutdown-timeout,
a second signal stops it at once. SIGHUP reads the rules again: all of them, or,
when they are broken, none.`,
    )
    .action(run);
}

async function run(options: Options): Promise<void> {
  const config = await readConfig(options);
  // Loaded here: the clients of all kinds of destinations would slow down every other command and `--help`.
  const { createEngine } = await import('../../engine.ts');
  const { createLogger, HiddenSecrets, logTelemetry } = await import('../../telemetry/log.ts');
  const secrets = new HiddenSecrets();
  secrets.add(config.secrets);
  const logger = createLogger(options.logLevel, secrets);
  const engine = createEngine(config, {
    apply: options.apply,
    telemetry: logTelemetry(logger),
    tracedShare: config.settings.opentelemetry?.sample ?? null,
  });
  engine.subscribe((event) => {
    if (event.type === 'engine.started') for (const line of whatItObserves(config)) logger.info(line);
  });
  const stopped = stopOnSignals(engine, options.shutdownTimeout);
  reloadOnHangUp(engine, options, logger, secrets);
  logger.info({ database: redactUrl(config.database), rules_version: config.version }, 'starting');
  const traces = await startTraces(engine, config, logger);
  if (hasModules(config)) outliveModules(logger);
  const http = await startHttp(engine, config, logger);
  try {
    await engine.start();
    await stopped;
  } finally {
    await Promise.all([http?.close(), traces?.close()]);
  }
}

const hasModules = ({ destinations }: Config) => [...destinations.values()].some(({ kind }) => kind === 'module');

/** A promise that a custom action left behind and nobody awaits must not take every other delivery with it. */
function outliveModules(logger: Logger): void {
  process.on('unhandledRejection', (reason) => {
    logger.error({ err: reason }, 'a promise was rejected and nobody awaits it: in a custom action, most likely');
  });
}

function stopOnSignals(engine: Engine, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let asked = false;
    const stop = (signal: NodeJS.Signals) => {
      // The claims of a process that leaves at once are taken over after the instance timeout.
      if (asked) process.exit(1);
      asked = true;
      engine.stop({ timeoutMs, reason: signal }).then(resolve, reject);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}

function reloadOnHangUp(engine: Engine, options: Options, logger: Logger, secrets: HiddenSecrets): void {
  process.on('SIGHUP', async () => {
    try {
      const config = await readConfig(options);
      // Before they are in use: also when the new rules are refused further on.
      secrets.add(config.secrets);
      const { settings } = engine.config;
      await engine.reload(config);
      if (hasModules(config) && process.listenerCount('unhandledRejection') === 0) outliveModules(logger);
      for (const key of ['listen', 'opentelemetry'] as const) {
        if (JSON.stringify(config.settings[key]) !== JSON.stringify(settings[key]))
          logger.warn(`settings.${key} changed: that needs a restart, until then it stays as it was`);
      }
    } catch (error) {
      const { message } = error as Error;
      if (!(error instanceof UserError)) logger.error({ err: error }, 'the rules could not be read');
      engine.refuse(message);
    }
  });
}

async function startTraces(engine: Engine, { settings }: Config, logger: Logger): Promise<Tracing | null> {
  if (settings.opentelemetry === null) return null;
  const { startTracing } = await import('../../telemetry/traces.ts');
  const instance = { id: `${hostname()}-${process.pid}`, version: programVersion };
  const tracing = await startTracing(settings.opentelemetry, instance, (message) => logger.warn(message));
  engine.subscribe(tracing.observe);
  return tracing;
}

/** Two instances on one host is a common way to run: the second one goes without, and says so. */
async function startHttp(engine: Engine, config: Config, logger: Logger): Promise<HttpServer | null> {
  const { listen } = config.settings;
  if (listen === null) return null;
  const { startHttpServer } = await import('../../http/server.ts');
  const { Metrics } = await import('../../telemetry/metrics/metrics.ts');
  const metrics = new Metrics();
  // Before anything starts, so that nothing goes uncounted.
  const uncount = engine.subscribe(metrics.observe);
  try {
    const server = await startHttpServer(engine, metrics, listen);
    logger.info({ url: server.url }, `health at ${server.url}/readyz, metrics at ${server.url}/metrics`);
    return server;
  } catch (error) {
    uncount();
    if (!(error instanceof UserError)) throw error;
    logger.warn(`no HTTP endpoints: ${error.message}`);
    return null;
  }
}

function* whatItObserves(config: Config): Generator<string> {
  for (const observer of config.observers.values()) {
    const actions = observer.actions.map((action) => `${action.kind} ${action.destination.name}`).join(', ');
    yield `${observer.name}: ${observer.source.name} (${observer.on.join(', ')})${observer.when === null ? '' : ' when its condition holds'} → ${actions}`;
  }
}
