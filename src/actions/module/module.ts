import type { CustomDestination, CustomTools } from '../../domain/custom-action.ts';
import { UserError } from '../../domain/errors.ts';
import { ExpressionError, type Scope } from '../../domain/expression.ts';
import type { Outcome } from '../../domain/outcome.ts';
import type { ModuleAction, ModuleDestination } from '../../domain/rules.ts';
import { plainEnvelope } from '../../expression/index.ts';
import type { ActionServices, ActionType, AttemptContext, DestinationClient } from '../contract.ts';
import { retry, timedOut } from '../outcomes.ts';
import { createRedactor, describeJson } from '../redaction.ts';
import { customOutcome, thrownOutcome } from './custom-outcome.ts';

interface ModuleRequest {
  readonly id: string;
  /** As the module made it. */
  readonly request: unknown;
}

/** An action of the user's own, from a module that the file names. */
export const module = {
  kind: 'module',
  open: (destination: ModuleDestination, services: ActionServices) => new ModuleClient(destination, services),
} satisfies ActionType<ModuleDestination, ModuleAction, ModuleRequest>;

class ModuleClient implements DestinationClient<ModuleAction, ModuleRequest> {
  readonly #path: string;
  readonly #custom: CustomDestination;
  readonly #redact: (text: string) => string;
  #closing: Promise<void> | null = null;

  constructor(destination: ModuleDestination, services: ActionServices) {
    this.#path = destination.module.path;
    this.#redact = createRedactor(secretsIn(destination.with));
    this.#custom = openCustom(destination, toolsFor(destination.name, services, this.#redact));
  }

  render(action: ModuleAction, scope: Scope, id: string): ModuleRequest {
    const input = action.input === null ? plainEnvelope(scope.record) : action.input.render(scope);
    if (this.#custom.render === undefined) return { id, request: input };
    const context = { id, observer: scope.delivery?.observer ?? '', action: action.name, event: scope.record };
    try {
      return { id, request: atOnce(this.#custom.render(input, context)) };
    } catch (error) {
      throw new ExpressionError(this.#redact(`render() of ${this.#path}: ${messageOf(error)}`), 'render()');
    }
  }

  async send({ id, request }: ModuleRequest, attempt: AttemptContext): Promise<Outcome> {
    const { deadline, timeoutMs, number } = attempt;
    if (deadline.passed) return timedOut(this.#path, attempt);
    if (this.#closing !== null) return retry({ ...closed, message: `${this.#path} is closed` });
    const { signal } = deadline;
    const until = new Date(Date.now() + timeoutMs);
    let stopWatching = () => {};
    const late = new Promise<Outcome>((resolve) => {
      const cut = () => resolve(timedOut(this.#path, attempt));
      signal.addEventListener('abort', cut, { once: true });
      stopWatching = () => signal.removeEventListener('abort', cut);
    });
    // A function of its own, so that what is thrown before the first await is caught, too. A late answer finds nobody.
    const answered = (async () => this.#custom.send(request, { signal, deadline: until, id, attempt: number }))().then(
      (answer) => customOutcome(answer, this.#path, this.#redact),
      (error: unknown) => (deadline.passed ? late : thrownOutcome(error, this.#path, this.#redact)),
    );
    return Promise.race([answered, late]).finally(stopWatching);
  }

  describe({ id, request }: ModuleRequest): unknown {
    return { module: this.#path, id, request: describeJson(JSON.stringify(request, digits) ?? 'null') };
  }

  close(): Promise<void> {
    // What it throws at the end harms nobody any more.
    this.#closing ??= (async () => this.#custom.close?.())().catch(() => {});
    return this.#closing;
  }
}

const closed = { errorClass: 'closed', status: null, responseExcerpt: null };

/** @throws UserError when the module was not loaded or refuses its options */
function openCustom({ name, module, with: options }: ModuleDestination, tools: CustomTools): CustomDestination {
  const { path, action } = module;
  if (action === null)
    throw new UserError(
      `destination ${name}: its module ${path} is not loaded  (loadConfig does that; after parseConfig and defineConfig, await loadModules(config))`,
      2,
      { code: 'PGO-MODULE' },
    );
  try {
    const opened = atOnce(action.open(options, tools)) as Partial<CustomDestination> | null | undefined;
    if (typeof opened?.send === 'function') return opened as CustomDestination;
  } catch (error) {
    throw new UserError(`destination ${name}: open() of ${path}: ${messageOf(error)}`, 2, {
      cause: error,
      code: 'PGO-MODULE',
    });
  }
  throw new UserError(`destination ${name}: open() of ${path} returns nothing with a \`send\``, 2, {
    code: 'PGO-MODULE',
  });
}

/** @throws Error for a promise: nobody would wait for it */
function atOnce<T>(value: T): T {
  if (typeof (value as { then?: unknown } | null | undefined)?.then !== 'function') return value;
  void Promise.resolve(value).catch(() => {});
  throw new Error('it is async, and must answer at once');
}

function toolsFor(destination: string, services: ActionServices, redact: (text: string) => string): CustomTools {
  return {
    log: (level, message, fields) =>
      services.log({
        level,
        message: redact(String(message)),
        fields: fields ?? null,
        destination,
        observer: null,
        action: null,
        event: null,
      }),
  };
}

const secretName = /secret|token|key|passw|credential|auth/i;

/** What stands under such names is secret even when it is written into the file. */
function secretsIn(options: unknown, name = ''): string[] {
  if (typeof options === 'string') return secretName.test(name) ? [options] : [];
  if (typeof options !== 'object' || options === null) return [];
  return Object.entries(options).flatMap(([key, value]) => secretsIn(value, Array.isArray(options) ? name : key));
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

const digits = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString() : value);
