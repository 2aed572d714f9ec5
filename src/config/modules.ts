import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { CustomAction, ModuleReference } from '../domain/custom-action.ts';
import { ConfigError, type ConfigProblem } from '../domain/errors.ts';
import type { Config, Position } from '../domain/rules.ts';
import type { Field } from './field.ts';
import { reasonOf } from './variables.ts';

/**
 * A module that the file names. Reading a file is done at once, and importing a module is not: so it is found and its content
 * read with the rest, and loaded by `loadModules` before anybody asks for its action.
 */
class ModuleFile implements ModuleReference {
  readonly path: string;
  readonly url: string;
  readonly position: Position;
  #action: CustomAction | null = null;

  constructor(path: string, url: string, position: Position) {
    this.path = path;
    this.url = url;
    this.position = position;
    Object.freeze(this);
  }

  get action(): CustomAction | null {
    return this.#action;
  }

  /** @throws Error whatever the module throws, and when it has the wrong shape */
  async load(): Promise<void> {
    // Its text is part of the URL: a changed module is another one, and the old one runs until the rules are taken up.
    this.#action ??= actionOf(await import(/* @vite-ignore */ this.url));
  }

  /** What tells whether a destination has changed. */
  toJSON(): string {
    return this.url;
  }
}

const extensions = /\.[cm]?[jt]s$/;

/** null when there is no such file, which has been reported. */
export function readModule(field: Field): ModuleReference | null {
  const path = field.text();
  if (path === undefined) return null;
  if (!extensions.test(path)) {
    field.refuse(`\`${field.label}\` is not a module: ${field.shown}`, 'a file that ends in .mjs, .js or .ts');
    return null;
  }
  const { directory, readFile } = field.draft;
  try {
    const hash = createHash('sha256').update(readFile(path)).digest('hex').slice(0, 12);
    return new ModuleFile(path, `${pathToFileURL(resolve(directory, path)).href}?v=${hash}`, field.position);
  } catch (error) {
    field.refuse(`can't read the module ${field.shown}: ${reasonOf(error)}`, 'a relative path starts at this file');
    return null;
  }
}

/**
 * Imports the modules of custom actions, which `parseConfig` and `defineConfig` can't wait for. `loadConfig` has done it.
 * @throws ConfigError with every module that can't be loaded
 */
export async function loadModules(config: Config): Promise<Config> {
  const problems: ConfigProblem[] = [];
  for (const destination of config.destinations.values()) {
    if (destination.kind !== 'module' || !(destination.module instanceof ModuleFile)) continue;
    const { module } = destination;
    await module.load().catch((error: unknown) => {
      problems.push({ file: config.file ?? 'config', ...module.position, ...whyNot(module.path, error) });
    });
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

function whyNot(path: string, error: unknown): Pick<ConfigProblem, 'message' | 'hint'> {
  if (error instanceof WrongShape) return { message: `the module \`${path}\` ${error.message}`, hint: shapeHint };
  const message = `the module \`${path}\` can't be loaded: ${error instanceof Error ? error.message : String(error)}`;
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const untyped = code === 'ERR_UNKNOWN_FILE_EXTENSION' || (error instanceof SyntaxError && /\.[cm]?ts$/.test(path));
  const hint = untyped ? `Node ${process.version} does not read TypeScript, 22.18 does: or name a compiled file` : null;
  return { message, hint };
}

class WrongShape extends Error {}

const shapeHint = 'export default { open(options) { return { async send(request, attempt) { … } } } }';

function actionOf(exports: unknown): CustomAction {
  const { default: main } = exports as { readonly default?: unknown };
  // A CommonJS module that was compiled from an ES module has its default inside.
  const inner = (main as { readonly default?: unknown } | undefined)?.default;
  const found = [main, inner, exports].find((one) => typeof (one as Partial<CustomAction> | null)?.open === 'function');
  if (found === undefined) throw new WrongShape('exports no action');
  return found as CustomAction;
}
