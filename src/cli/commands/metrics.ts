import { Command, Option } from 'commander';
import { UserError } from '../../domain/errors.ts';
import { type ConfigOptions, configOption, jsonOption, readConfig } from '../options.ts';
import { table } from '../table.ts';

interface Options extends ConfigOptions {
  readonly url?: string;
  readonly metric?: readonly string[];
  readonly json?: true;
}

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const answerWithinMs = 10_000;

export function metricsCommand(): Command {
  return new Command('metrics')
    .description('What a running process counts and measures, as Prometheus would read it')
    .addOption(configOption())
    .addOption(new Option('--url <url>', 'where it answers; default: settings.listen of the file'))
    .addOption(new Option('--metric <names...>', 'only metrics whose names hold one of these'))
    .addOption(jsonOption())
    .addHelpText('after', '\nExample: pg-observers metrics --metric dead_letters queue_')
    .action(async (options: Options) => {
      const text = await scrape(options.url ?? (await addressOf(options)));
      const wanted = options.metric ?? [''];
      const series = readSeries(text).filter(({ name }) => wanted.some((part) => name.includes(part)));
      if (series.length === 0) throw new UserError(`There is no metric with ${wanted.join(' or ')} in its name.`);
      console.log(options.json ? JSON.stringify(series, null, 2) : describe(series));
    });
}

async function addressOf(options: Options): Promise<string> {
  const { listen } = (await readConfig(options)).settings;
  if (listen === null) throw new UserError('settings.listen is off: nothing answers. Give --url for another one.', 2);
  return `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`;
}

async function scrape(url: string): Promise<string> {
  let response: Response;
  try {
    response = await fetch(new URL('/metrics', url), { signal: AbortSignal.timeout(answerWithinMs) });
  } catch (error) {
    if (error instanceof TypeError && error.message.includes('URL')) throw new UserError(`${url} is not a URL.`, 2);
    throw new UserError(`Nothing answers at ${url}: is \`pg-observers run\` running on this host?`, 3, {
      cause: error,
    });
  }
  const text = await response.text();
  if (!response.ok || !text.includes('pg_observers_'))
    throw new UserError(`What answers at ${url} is not pg-observers (HTTP ${response.status}).`, 3);
  return text;
}

/** Without the buckets of histograms, which say something to a program only. */
function readSeries(text: string): Series[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || name.endsWith('_bucket')) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(
      ([, key = '', written = '']) => [key, JSON.parse(`"${written}"`) as string] as const,
    );
    return { name, labels: Object.fromEntries(pairs), value: Number(value) };
  });
}

function describe(series: readonly Series[]): string {
  const cells = series.map(({ name, labels, value }) => [
    name,
    String(value),
    Object.entries(labels)
      .map(([key, text]) => `${key}=${text}`)
      .join(' '),
  ]);
  return table(['METRIC', 'VALUE', 'LABELS'], cells);
}
