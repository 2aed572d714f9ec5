/** Where something stands in the file, for messages: 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}
