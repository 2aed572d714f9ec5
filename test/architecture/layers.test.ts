import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { layers, violationsOf } from './layers.ts';

const root = new URL('../../', import.meta.url).pathname;

describe('the source tree', () => {
  const files = readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `src/${file}`);

  it('imports downward only, ends the process and holds SQL where it may', () => {
    const violations = files.flatMap((file) => violationsOf(file, readFileSync(root + file, 'utf8')));
    expect(violations.map(({ file, line, message }) => `${file}:${line}  ${message}`)).toEqual([]);
  });

  it('has no layer without files', () => {
    const empty = Object.keys(layers).filter(
      (layer) => !files.some((file) => file.startsWith(layer.replace('*.ts', ''))),
    );
    expect(empty).toEqual([]);
  });
});

describe('a planted violation is found', () => {
  it.each([
    ['src/domain/event.ts', "import type { Engine } from '../engine.ts';"],
    ['src/domain/event.ts', "import { x } from '../expression/index.ts';"],
    ['src/expression/deep/er/x.ts', "import { x } from '../../../config/index.ts';"],
    ['src/config/load.ts', "import { x } from '../actions/registry.ts';"],
    ['src/actions/webhook/webhook.ts', "import { x } from '../../config/index.ts';"],
    ['src/actions/registry.ts', "import type { x } from '../transport/contract.ts';"],
    ['src/transport/contract.ts', "import { x } from './postgres/connection.ts';"],
    ['src/transport/postgres/status.ts', "import { x } from '../../actions/contract.ts';"],
    ['src/pipeline/decide/router.ts', "import { x } from '../deliver/settler.ts';"],
    ['src/pipeline/decide/router.ts', "import { x } from '../../transport/postgres/locks.ts';"],
    ['src/pipeline/wake.ts', "export * from './decide/router.ts';"],
    ['src/telemetry/log.ts', "import { x } from '../pipeline/wake.ts';"],
    ['src/engine.ts', "import { x } from './http/server.ts';"],
    ['src/engine.ts', "const { x } = await import('./config/index.ts');"],
    ['src/http/server.ts', "import { x } from '../cli/options.ts';"],
    ['src/demo/demo.ts', "import { x } from '../cli/table.ts';"],
    ['src/elsewhere/x.ts', 'export {};'],
  ])('import: %s  %s', (file, source) => {
    expect(violationsOf(file, source)).toHaveLength(1);
  });

  it.each([
    ['src/engine.ts', 'process.exit(1);'],
    ['src/engine.ts', 'const [first] = process.argv;'],
    ['src/http/server.ts', 'process.exitCode = 1;'],
    ['src/pipeline/recover/housekeeper.ts', "await pool.query('delete from observers.events');"],
    ['src/engine.ts', 'const q = `\n  with c as (select 1) select 2`;'],
    ['src/cli/commands/dlq.ts', 'pool.query("select id from observers.dead_letters");'],
  ])('elsewhere: %s  %s', (file, source) => {
    expect(violationsOf(file, source)).toHaveLength(1);
  });

  it.each([
    ['src/pipeline/decide/router.ts', "import { StageLoop } from '../stage-loop.ts'; import { x } from './decide.ts';"],
    ['src/engine.ts', "// process.exit is for the command line\nimport pg from 'pg';"],
    ['src/engine.ts', "await this.pool.query('select 1');"],
    ['src/cli/main.ts', 'process.exit(0);'],
  ])('and what is allowed is not: %s  %s', (file, source) => {
    expect(violationsOf(file, source)).toEqual([]);
  });
});
