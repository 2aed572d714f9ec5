import type { Config } from '../domain/rules.ts';
import type { PlanStep } from '../transport/postgres/capture-plan.ts';
import type { CheckpointReport } from '../transport/postgres/checkpoint-reset.ts';
import type { DefaultPartition, Rights, ServerAnswer } from '../transport/postgres/diagnosis.ts';
import type { DatabaseStatus } from '../transport/postgres/status.ts';

/** What could not be found out, and what the database or the program said. */
export interface Unknown {
  readonly failed: string;
}

export type Learnt<Fact> = Fact | Unknown;

export const isUnknown = (fact: unknown): fact is Unknown =>
  typeof fact === 'object' && fact !== null && 'failed' in fact && typeof fact.failed === 'string';

/** Of a database that can be reached. */
export interface DatabaseFacts {
  /** null: no file, or one with mistakes. */
  readonly config: Config | null;
  readonly server: ServerAnswer;
  readonly ownSessions: Learnt<true>;
  /** null: there is no second way to the database. */
  readonly sameDatabase: Learnt<true> | null;
  readonly hears: Learnt<boolean>;
  readonly rights: Learnt<Rights>;
  /** null: without a configuration there is no plan. */
  readonly plan: Learnt<readonly PlanStep[]> | null;
  /** The rest: null without our tables. */
  readonly checkpoint: Learnt<CheckpointReport> | null;
  readonly usedDefaults: Learnt<readonly DefaultPartition[]> | null;
  readonly status: Learnt<DatabaseStatus> | null;
}
