import { isIP } from 'node:net';
import type { AddressPolicy } from '../domain/webhook.ts';
import type { Field } from './field.ts';
import { type JsonSchema, record } from './schema-values.ts';

const places = (description: string): JsonSchema => ({
  description,
  type: ['string', 'array'],
  minLength: 1,
  items: { type: 'string', minLength: 1 },
  examples: [['10.20.0.0/16', '*.internal.example.com']],
});

export const addressesDefinition: JsonSchema = record('Which addresses webhooks may connect to.', {
  guard: {
    description:
      'Refuses private, local and other special addresses. `auto`: where the host of the URL comes from the event; a host written in the file may be internal.',
    enum: ['auto', 'on', 'off'],
    default: 'auto',
  },
  allow: places('Host names, `*.example.com`, addresses and CIDR ranges that the guard lets through.'),
  deny: places('The same, never connected to: wins over `allow`, and counts where the guard is off too.'),
});

export const builtInAddresses: AddressPolicy = Object.freeze({
  guard: 'auto',
  allow: Object.freeze([]),
  deny: Object.freeze([]),
});

/** Key by key over what is inherited. */
export function readAddresses(field: Field, inherited: AddressPolicy): AddressPolicy {
  if (!field.present) return inherited;
  return Object.freeze({
    guard: (field.get('guard').text() as AddressPolicy['guard'] | undefined) ?? inherited.guard,
    allow: readPlaces(field.get('allow')) ?? inherited.allow,
    deny: readPlaces(field.get('deny')) ?? inherited.deny,
  });
}

function readPlaces(field: Field): readonly string[] | undefined {
  if (!field.present) return undefined;
  const places = field.items().flatMap((item) => {
    const text = item.text();
    if (text === undefined) return [];
    const place = isRange(text) ? text : hostName(text);
    if (place !== null) return [place];
    item.refuse(
      `${item.shown} is neither a host name nor an address or range`,
      'such as hooks.example.com, *.example.com, 10.0.0.0/8 or fd00::/8',
    );
    return [];
  });
  return Object.freeze(places);
}

function isRange(text: string): boolean {
  const [, address = '', prefix] = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  return version !== 0 && Number(prefix ?? 0) <= (version === 4 ? 32 : 128);
}

/** As URLs spell it, so that it can be compared with theirs; null for what is not a host name. */
function hostName(text: string): string | null {
  const [, wildcard = '', name = ''] = /^(\*\.)?([^\s/:*@?#\\]+)$/.exec(text) ?? [];
  if (name === '' || !URL.canParse(`http://${name}`)) return null;
  const { hostname } = new URL(`http://${name}`);
  // `127.1`, `0x7f000001`: as an address it is easily taken for another one than it is.
  return isIP(hostname) === 0 ? wildcard + hostname : null;
}
