import { BlockList, isIP } from 'node:net';

/** A set of addresses in CIDR notation. */
export interface AddressRange {
  readonly cidr: string;
  includes(address: string): boolean;
}

/**
 * `10.0.0.0/8`, `fd00::/8`, or one address.
 *
 * A BlockList for each range and not one for all: the one that matched has to be named, and one that holds both families
 * applies rules for IPv4 to some ways of writing them in IPv6 and not to others.
 *
 * @returns null when the text is neither
 */
export function parseRange(text: string): AddressRange | null {
  const [, address = '', digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0 || address.includes('%')) return null;
  const width = version === 4 ? 32 : 128;
  const prefix = digits === undefined ? width : Number(digits);
  if (prefix > width) return null;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, prefix, family);
  return { cidr: text, includes: (other) => isIP(other) === version && list.check(withoutZone(other), family) };
}

/** `fe80::1%eth0` */
function withoutZone(address: string): string {
  return address.replace(/%.*$/, '');
}

interface NamedRange extends AddressRange {
  readonly meaning: string;
}

/**
 * What is not somebody's server on the internet: the IANA registries of special-purpose addresses, and every way to write
 * an IPv4 address inside an IPv6 one, which some gateway might take out again.
 */
const special: readonly NamedRange[] = (
  [
    ['0.0.0.0/8', 'this network'],
    ['10.0.0.0/8', 'a private network'],
    ['100.64.0.0/10', 'a carrier’s network'],
    ['100.100.100.200/32', 'cloud metadata'],
    ['127.0.0.0/8', 'this machine'],
    ['169.254.0.0/16', 'link-local, cloud metadata'],
    ['172.16.0.0/12', 'a private network'],
    ['192.0.0.0/24', 'protocol assignments, cloud metadata'],
    ['192.0.2.0/24', 'documentation'],
    ['192.31.196.0/24', 'AS112'],
    ['192.52.193.0/24', 'AMT'],
    ['192.88.99.0/24', '6to4 relays'],
    ['192.168.0.0/16', 'a private network'],
    ['192.175.48.0/24', 'AS112'],
    ['198.18.0.0/15', 'benchmarks'],
    ['198.51.100.0/24', 'documentation'],
    ['203.0.113.0/24', 'documentation'],
    ['168.63.129.16/32', 'cloud platform'],
    ['224.0.0.0/4', 'multicast'],
    ['240.0.0.0/4', 'reserved'],
    ['::1/128', 'this machine'],
    ['::ffff:0:0/96', 'IPv4 in IPv6'],
    ['::ffff:0:0:0/96', 'IPv4 in IPv6'],
    ['::/96', 'IPv4 in IPv6'],
    ['64:ff9b::/96', 'NAT64'],
    ['64:ff9b:1::/48', 'NAT64'],
    ['2001::/32', 'Teredo'],
    ['2001:2::/48', 'benchmarks'],
    ['2001:db8::/32', 'documentation'],
    ['2001::/23', 'protocol assignments'],
    ['2002::/16', '6to4'],
    ['2620:4f:8000::/48', 'AS112'],
    ['3fff::/20', 'documentation'],
    ['fc00::/7', 'a private network'],
    ['fe80::/10', 'link-local'],
    ['fec0::/10', 'site-local'],
    ['ff00::/8', 'multicast'],
  ] as const
).map(([cidr, meaning]) => ({ ...rangeOf(cidr), meaning }));

const globalUnicast = rangeOf('2000::/3');

/** `10.0.0.0/8 (a private network)`, or null for an address on the internet. @param address a literal */
export function specialRangeOf(address: string): string | null {
  const found = special.find((range) => range.includes(address));
  if (found !== undefined) return `${found.cidr} (${found.meaning})`;
  if (isIP(address) === 6 && !globalUnicast.includes(address)) return 'outside 2000::/3 (not assigned)';
  return null;
}

function rangeOf(cidr: string): AddressRange {
  const range = parseRange(cidr);
  if (range === null) throw new Error(`${cidr} is not a range`);
  return range;
}
