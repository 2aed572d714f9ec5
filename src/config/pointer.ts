/** Where a value is: the keys and indexes on the way to it from the top of the document. */
export type Path = readonly (string | number)[];

/** The path as JSON pointer (RFC 6901), the form in which ajv speaks of places. */
export function pointerOf(path: Path): string {
  return path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

export function pathOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}
