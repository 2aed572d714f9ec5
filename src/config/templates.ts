// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { childOf, type WrittenDocument } from './document.ts';
import { type Kind, kindNames, kinds } from './kinds/index.ts';
import { type Path, pointerOf } from './pointer.ts';
import type { Problems } from './problems.ts';

const evaluated: ReadonlySet<string> = new Set([
  // A literal URL.
  'webhook',
  ...kindNames.flatMap((name) => {
    const { actionKeys, literalKeys = [], destinationSchema }: Kind = kinds[name];
    const keys = Object.keys(actionKeys).filter((key) => !literalKeys.includes(key));
    return destinationSchema === null ? [name, ...keys] : keys;
  }),
]);

/** Refuses `${{ }}` where nothing evaluates it: it would be sent, or connected to, as it stands. */
export function refuseStrayTemplates(document: WrittenDocument, problems: Problems): void {
  const visit = (value: unknown, path: Path): void => {
    if (isTemplatePlace(path)) return;
    if (typeof value === 'string') {
      const offset = value.indexOf('${{');
      if (offset < 0) return;
      const key = String(path.findLast((step) => typeof step === 'string') ?? '');
      const hint = isExpression(path) ? 'it is an expression already: write it without ${{ }}' : null;
      problems.add(document.characterPosition(path, offset), `templates are not supported in \`${key}\``, hint);
      problems.refuse(pointerOf(path));
      return;
    }
    if (Array.isArray(value))
      value.forEach((item, i) => {
        visit(item, [...path, i]);
      });
    else if (value !== null && typeof value === 'object') {
      for (const key of Object.keys(value)) visit(childOf(value, key), [...path, key]);
    }
  };
  visit(document.value, []);
}

/** observers.<name>.actions.<i>.<key>, and what of a webhook destination the event has a say in. */
function isTemplatePlace([section, , kind, key, ...more]: Path): boolean {
  if (section === 'destinations') return kind === 'webhook' && more.length === 0 && (key === 'url' || key === 'query');
  return section === 'observers' && kind === 'actions' && more.length === 1 && evaluated.has(String(more[0]));
}

function isExpression(path: Path): boolean {
  return path[0] === 'observers' && (path[2] === 'when' || path[2] === 'order_by');
}
