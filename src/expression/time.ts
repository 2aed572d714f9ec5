/** Timestamps, dates and durations as PostgreSQL prints them and people write them. */

/** The ends of JavaScript's time line stand for PostgreSQL's `infinity` and `-infinity`: later and earlier than all else. */
const lastInstant = 8.64e15;

const timestampPattern =
  /^(\d{4,6})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?(?::\d\d)?))?)?$/;

export function isInfiniteInstant(date: Date): -1 | 0 | 1 {
  const time = date.getTime();
  return time === lastInstant ? 1 : time === -lastInstant ? -1 : 0;
}

/**
 * What `timestamp`, `timestamptz` and `date` columns hold as JSON: microseconds (kept to the millisecond), with or
 * without offset (without: UTC), date only (midnight), `infinity`.
 * @throws RangeError for anything else
 */
export function parseTimestamp(text: string): Date {
  if (text === 'infinity') return new Date(lastInstant);
  if (text === '-infinity') return new Date(-lastInstant);
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '0', zone = 'Z'] =
    timestampPattern.exec(text) ?? [];
  const fields = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [y, mo, d, h, mi, s] = fields;
  const date = new Date(0);
  date.setUTCFullYear(y, mo - 1, d);
  // Checked before the time of day is added: 24:00:00 is valid and means the next day.
  const exists = date.getUTCMonth() === mo - 1 && h <= 24 && mi < 60 && s <= 60;
  if (!exists) throw new RangeError(`${JSON.stringify(text.slice(0, 60))} is not a timestamp`);
  date.setUTCHours(h, mi, s, Math.floor(Number(fraction) * 1000));
  return new Date(date.getTime() - zoneOffsetMs(zone));
}

function zoneOffsetMs(zone: string): number {
  if (zone === 'Z') return 0;
  const digits = zone.slice(1).replaceAll(':', '').padEnd(6, '0');
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4, 6));
  return (zone.startsWith('-') ? -seconds : seconds) * 1000;
}

/** Midnight UTC of the day an instant falls on. */
export function startOfDay(instant: Date): Date {
  if (isInfiniteInstant(instant) !== 0) return instant;
  const day = new Date(instant);
  day.setUTCHours(0, 0, 0, 0);
  return day;
}

/**
 * Day of the year, from 0, in UTC or an IANA time zone. cel-js's own depends on the process's TZ and is a day off behind
 * a switch to summer time.
 * @throws RangeError for an unknown time zone
 */
export function dayOfYear(instant: Date, timeZone = 'UTC'): bigint {
  const parts = new Intl.DateTimeFormat('en-US', { timeZone, year: 'numeric', month: 'numeric', day: 'numeric' });
  const field = { year: 0, month: 0, day: 0 };
  for (const { type, value } of parts.formatToParts(instant)) {
    if (type === 'year' || type === 'month' || type === 'day') field[type] = Number(value);
  }
  return BigInt((Date.UTC(field.year, field.month - 1, field.day) - Date.UTC(field.year, 0, 1)) / 86_400_000);
}

/**
 * A duration as CEL knows it: "1d12h" becomes "36h". CEL stops at hours.
 * @returns null when it isn't a duration
 */
export function durationInHours(text: string): string | null {
  if (!/^[+-]?(?:\d+(?:\.\d+)?(?:w|d|h|ms|m|s|us|µs|ns))+$/.test(text)) return null;
  return text.replace(/(\d+(?:\.\d+)?)([wd])/g, (_, count: string, unit: string) => {
    return `${Number(count) * (unit === 'w' ? 168 : 24)}h`;
  });
}
