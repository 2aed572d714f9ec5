/** npm run bench: see README.md. */
import { parseArgs } from 'node:util';
import { cases } from './cases/index.ts';
import { installRivals, rivalsInstalled } from './support/rivals.ts';
import { runBench } from './support/run-bench.ts';
import { terminalTable } from './support/tables.ts';
import { writeDocs, writeResults } from './support/write.ts';

// So that what runs on 'exit' ends the processes that were started.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(130));

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    'no-rivals': { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
  },
});
if (values['write-docs'] && (values.only !== undefined || values.quick || values.smoke || values['no-rivals'])) {
  throw new Error('--write-docs shows one whole run: leave out --only, --quick, --smoke and --no-rivals');
}
const chosen = values.only?.split(',').map(Number);
const scale = values.smoke ? 'smoke' : values.quick ? 'quick' : 'full';
if (!values['no-rivals'] && scale !== 'smoke') await installRivals();
const report = await runBench({
  cases: cases.filter(({ number }) => chosen === undefined || chosen.includes(number)),
  scale,
  rounds: values.rounds === undefined ? null : Number(values.rounds),
  rivals: !values['no-rivals'] && rivalsInstalled(),
  log: (message) => console.error(message),
});
console.log(terminalTable(report));
await writeResults(report);
for (const { number, message } of report.failed) console.error(`Row ${number} failed: ${message}`);
if (report.failed.length > 0) process.exitCode = 1;
else if (values['write-docs']) await writeDocs(report);
