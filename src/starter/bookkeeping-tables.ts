/** Tables in which tools keep their own books: no event of them is news to anybody. */
const tables = new Set([
  '_prisma_migrations',
  '__diesel_schema_migrations',
  '__efmigrationshistory',
  '__drizzle_migrations',
  '_sqlx_migrations',
  'alembic_version',
  'ar_internal_metadata',
  'databasechangelog',
  'databasechangeloglock',
  'django_migrations',
  'flyway_schema_history',
  'goose_db_version',
  'knex_migrations',
  'knex_migrations_lock',
  'migrations',
  'pgmigrations',
  'schema_migrations',
  'sequelizemeta',
  'typeorm_metadata',
]);

const schemas = new Set([
  'cron',
  'drizzle',
  'graphile_migrate',
  'graphile_worker',
  'hdb_catalog',
  'partman',
  'pgboss',
  'river',
]);

export const isBookkeeping = (schema: string, table: string): boolean =>
  schemas.has(schema) || tables.has(table.toLowerCase());
