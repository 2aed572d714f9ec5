import type { Telemetry } from '../domain/telemetry.ts';

/** What of the demo a person (or, as JSON, a program) sees. */
export interface View {
  /** Events and outcomes, as they happen. */
  readonly telemetry: Telemetry;
  /** The first words: what is going on, as label and text. */
  header(title: string, facts: readonly (readonly [label: string, text: string])[]): void;
  /** A step of the story. */
  step(tone: 'good' | 'bad' | 'plain', text: string): void;
  /** A remark, dim. */
  remark(text: string): void;
  /** Prints what is still held back. */
  flush(): void;
  /** The very last line. */
  summary(line: string): void;
}

export type Write = (text: string) => void;
