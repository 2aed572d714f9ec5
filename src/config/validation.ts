/** What a validator says of one mistake, as ajv does with `verbose`. */
export interface SchemaError {
  readonly keyword: string;
  /** JSON pointer to the value. */
  readonly instancePath: string;
  readonly schemaPath: string;
  // biome-ignore lint/suspicious/noExplicitAny: its shape goes by the keyword
  readonly params: Record<string, any>;
  readonly message?: string;
  /** Set when the mistake is in the name of a key. */
  readonly propertyName?: string;
  readonly schema?: unknown;
  readonly parentSchema?: Readonly<Record<string, unknown>>;
  readonly data?: unknown;
}

/** Holds a value against one JSON Schema, and leaves all that is wrong in `errors`. */
export interface Validate {
  (value: unknown): boolean;
  errors?: readonly SchemaError[] | null;
}
