import { type Observer, sources, usualObservers } from './observers.ts';

export interface RulesOptions {
  /** Default 2,000 ms: an instance silent for so long is taken for dead. One that the machine starves is, too. */
  readonly instanceTimeoutMs?: number;
  /** YAML of a destination's policy, by its name, e.g. `{ ledger: 'concurrency: 5, timeout: 1s' }`. */
  readonly policy?: Readonly<Record<string, string>>;
  /** Milliseconds an attempt may take; default 60,000. */
  readonly timeoutMs?: number;
  /** YAML of more sources, by name. */
  readonly sources?: Readonly<Record<string, string>>;
  /** More observers than the usual ones. */
  readonly observers?: readonly Observer[];
  /** YAML under `settings:`, e.g. `poll_interval: 200ms`. */
  readonly settings?: string;
}

/**
 * Long: a receiver of ours that a busy machine holds up for seconds has accepted, and a sender that has given up by then
 * repeats, rightly.
 */
export const usualTimeoutMs = 60_000;

/** observers.yaml as the instances read it. Each names itself in a header, which no rule version counts. */
export function rulesYaml(
  databaseUrl: string,
  urlOf: (destination: string) => string,
  options: RulesOptions = {},
): string {
  const {
    instanceTimeoutMs = 2_000,
    timeoutMs = usualTimeoutMs,
    policy = {},
    observers: more = [],
    settings = '',
  } = options;
  const observers = [...usualObservers, ...more];
  const targets = [...new Set(observers.map(({ destination }) => destination))];
  return `version: 1
database: ${JSON.stringify(databaseUrl)}
sources:
${Object.entries({ ...sources, ...options.sources })
  .map(([name, source]) => `  ${name}: { ${source} }`)
  .join('\n')}
defaults: { timeout: ${timeoutMs}ms, retry: { attempts: 100, initial: 50ms, max: 500ms } }
destinations:
${targets.map((name) => `  ${name}: { webhook: { url: "${urlOf(name)}", headers: { x-instance: "\${CHAOS_INSTANCE}" } }${policy[name] === undefined ? '' : `, ${policy[name]}`} }`).join('\n')}
observers:
${observers.map(observerYaml).join('\n')}
settings:
  instance_timeout: ${instanceTimeoutMs}ms
${settings === '' ? '' : `  ${settings}\n`}`;
}

function observerYaml({ name, source, sourceName = source, destination, when, inOrder }: Observer): string {
  const condition = when === undefined ? '' : `, when: ${JSON.stringify(when.cel)}`;
  const order = inOrder === true ? ', order_by: key' : '';
  return `  ${name}: { source: ${sourceName}${condition}${order}, actions: [{ webhook: ${destination}, headers: { x-observer: ${name} } }] }`;
}
