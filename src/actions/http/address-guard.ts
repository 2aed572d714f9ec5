import { lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { AddressPolicy } from '../../domain/webhook.ts';
import { type AddressRange, parseRange, specialRangeOf } from './address-ranges.ts';

/** An address that must not be connected to. The message names address and rule. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
}

/** Asked when a connection is made: whatever a name meant a moment ago, it is what it means now that counts. */
export interface AddressGuard {
  /** Looks at the host itself: denied by name, or a literal address. null: go on, with `lookup`. */
  refuse(hostname: string): AddressRefused | null;
  /**
   * Resolves like the system, and fails with AddressRefused when any of the answers is forbidden. The connection goes to
   * one of the addresses that were looked at: nothing is resolved a second time.
   *
   * All and not just the forbidden ones: a name with public and private answers is a mistake or an attack, and to
   * connect to whichever address is left would make that visible only now and then.
   */
  readonly lookup: LookupFunction;
}

/**
 * @param isFromData whether the host comes from an event and not from the file
 * @returns null when every address will do
 */
export function createAddressGuard(
  policy: AddressPolicy,
  isFromData: boolean,
  resolve: LookupFunction = systemLookup,
): AddressGuard | null {
  const guarded = policy.guard === 'on' || (policy.guard === 'auto' && isFromData);
  if (!guarded && policy.deny.length === 0) return null;
  const allow = new Places(policy.allow);
  const deny = new Places(policy.deny);

  const refuseAddress = (address: string, hostname: string): AddressRefused | null => {
    const denied = deny.rangeWith(address);
    if (denied !== null) return refusal(hostname, address, `addresses.deny: ${denied}`);
    if (!guarded || allow.names(hostname) !== null || allow.rangeWith(address) !== null) return null;
    const special = specialRangeOf(address);
    return special === null ? null : refusal(hostname, address, special);
  };
  const refuse = (hostname: string): AddressRefused | null => {
    const denied = deny.names(hostname);
    if (denied !== null) return new AddressRefused(`${hostname} is refused by addresses.deny: ${denied}`);
    return isIP(hostname) === 0 ? null : refuseAddress(hostname, hostname);
  };
  const lookup: LookupFunction = (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found : [];
      const refused = addresses.flatMap(({ address }) => refuseAddress(address, hostname) ?? []);
      const failure = error ?? refused[0] ?? null;
      const [first] = addresses;
      if (failure !== null || first === undefined) callback(failure ?? noAnswer(hostname), []);
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
  return { refuse, lookup };
}

function refusal(hostname: string, address: string, rule: string): AddressRefused {
  const subject = hostname === address ? address : `${hostname} is at ${address}, which`;
  return new AddressRefused(`${subject} is refused: ${rule}`);
}

function noAnswer(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`no address for ${hostname}`), { code: 'ENOTFOUND' });
}

/** The entries of an allow or deny list. */
class Places {
  readonly #ranges: readonly AddressRange[];
  readonly #hosts: readonly string[];

  constructor(entries: readonly string[]) {
    this.#ranges = entries.flatMap((entry) => parseRange(entry) ?? []);
    this.#hosts = entries.filter((entry) => parseRange(entry) === null).map(normalized);
  }

  /** The entry that names the host, or null. `*.example.com` means what is below example.com. */
  names(hostname: string): string | null {
    const name = normalized(hostname);
    return this.#hosts.find((host) => (host.startsWith('*.') ? name.endsWith(host.slice(1)) : name === host)) ?? null;
  }

  rangeWith(address: string): string | null {
    return this.#ranges.find((range) => range.includes(address))?.cidr ?? null;
  }
}

/** `LocalHost.` is `localhost`. */
function normalized(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}
