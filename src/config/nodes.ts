import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type Scalar, type YAMLMap } from 'yaml';
import type { Lines } from './lines.ts';
import { unmask } from './mask.ts';
import type { Problems } from './problems.ts';

/** Offsets into the source of one value. */
export interface Place {
  readonly offset: number;
  /** null: a list item, or the top. */
  readonly keyOffset: number | null;
  /** null: a list or mapping. */
  readonly scalar: Scalar | null;
}

interface Reading {
  readonly document: Document.Parsed;
  readonly lines: Lines;
  readonly problems: Problems;
  readonly places: Map<string, Place>;
  /** Nodes being read at this moment: an alias to one of them would never end. */
  readonly open: Set<Node>;
  aliases: number;
}

/** More than anyone writes, and few enough that a chain of aliases to aliases can't grow into gigabytes. */
const mostAliases = 100;
const mostValues = 500_000;

/**
 * The document as plain values and where each stands. In place of yaml's `toJS`, which knows no positions, turns mappings
 * used as keys into text, and lets an alias contain itself.
 */
export function readValue(
  document: Document.Parsed,
  lines: Lines,
  problems: Problems,
): { readonly value: unknown; readonly places: ReadonlyMap<string, Place> } {
  const places = new Map<string, Place>();
  const reading: Reading = { document, lines, problems, places, open: new Set(), aliases: 0 };
  const value = document.contents === null ? null : readNode(reading, document.contents, '', null);
  return { value, places };
}

function readNode(reading: Reading, node: Node, pointer: string, keyOffset: number | null): unknown {
  const offset = node.range?.[0] ?? 0;
  if (reading.places.size >= mostValues) {
    if (reading.places.size === mostValues) {
      reading.problems.add(reading.lines.at(offset), `more than ${mostValues} values, aliases counted each time`);
      reading.places.set(pointer, { offset, keyOffset, scalar: null });
    }
    return null;
  }
  const target = isAlias(node) ? resolveAlias(reading, node, offset) : node;
  if (target === null || reading.open.has(target)) {
    if (target !== null)
      reading.problems.add(reading.lines.at(offset), 'this alias stands for something that contains it');
    reading.places.set(pointer, { offset, keyOffset, scalar: null });
    reading.problems.refuse(pointer);
    return null;
  }
  reading.places.set(pointer, { offset, keyOffset, scalar: isScalar(target) ? target : null });
  reading.open.add(target);
  const value = readContent(reading, target, pointer, offset);
  reading.open.delete(target);
  return value;
}

function readContent(reading: Reading, node: Node, pointer: string, offset: number): unknown {
  if (isScalar(node)) return readScalar(reading, node, pointer, offset);
  if (isMap(node)) return readMap(reading, node, pointer);
  if (isSeq(node)) {
    return node.items.map((item, i) => readNode(reading, item as Node, `${pointer}/${i}`, null));
  }
  return null;
}

function readScalar(reading: Reading, node: Scalar, pointer: string, offset: number): unknown {
  const { value } = node;
  if (typeof value === 'string') return unmask(value);
  if (typeof value === 'number' && !Number.isFinite(value)) {
    reading.problems.add(reading.lines.at(offset), 'JSON has no such number', 'put it in quotes');
    reading.problems.refuse(pointer);
    return 0;
  }
  // A request body may hold such numbers, and they go out digit for digit.
  if (typeof value === 'number' && !Number.isSafeInteger(value) && /^[-+]?\d+$/.test(node.source ?? '')) {
    return BigInt((node.source ?? '').replace('+', ''));
  }
  return value;
}

function readMap(reading: Reading, map: YAMLMap, pointer: string): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const firstOffsets = new Map<string, number>();
  for (const pair of map.items) {
    const keyNode = pair.key as Node | null;
    const offset = keyNode?.range?.[0] ?? map.range?.[0] ?? 0;
    const key = keyText(keyNode);
    const complain = (message: string, hint: string | null): void =>
      reading.problems.add(reading.lines.at(offset), message, hint);
    if (key === null || key === '__proto__') {
      complain("this can't be a key", 'keys are names');
      continue;
    }
    const first = firstOffsets.get(key);
    if (first !== undefined) {
      complain(`duplicate key \`${key}\``, `first on line ${reading.lines.at(first).line}`);
      continue;
    }
    firstOffsets.set(key, offset);
    const child = `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const value = pair.value as Node | null;
    if (value === null) reading.places.set(child, { offset, keyOffset: offset, scalar: null });
    result[key] = value === null ? null : readNode(reading, value, child, offset);
  }
  return result;
}

function keyText(node: Node | null): string | null {
  if (!isScalar(node)) return null;
  return node.value === null ? null : unmask(String(node.value));
}

function resolveAlias(reading: Reading, node: Node, offset: number): Node | null {
  reading.aliases += 1;
  const complain = (message: string): null => {
    reading.problems.add(reading.lines.at(offset), message);
    return null;
  };
  if (reading.aliases > mostAliases) {
    return reading.aliases === mostAliases + 1 ? complain(`more than ${mostAliases} aliases`) : null;
  }
  if (!isAlias(node)) return null;
  const target = node.resolve(reading.document);
  return target ?? complain(`there is no anchor \`&${node.source}\` above this alias`);
}
