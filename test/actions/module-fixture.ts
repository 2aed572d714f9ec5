import type { CustomAction } from '../../src/domain/custom-action.ts';
import { builtInOutcomes } from '../../src/domain/outcome-policy.ts';
import type { ModuleDestination } from '../../src/domain/rules.ts';
import { common } from './fixtures.ts';

/** A destination whose module is this action, as it is when it has been loaded. */
export function moduleDestination(action: CustomAction | null, options: unknown = {}): ModuleDestination {
  const module = { path: './custom.mjs', url: 'file:///custom.mjs', action };
  return { ...common, outcomes: builtInOutcomes('module'), kind: 'module', name: 'custom', module, with: options };
}
