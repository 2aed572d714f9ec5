import { openTransport } from '../../actions/email/transport.ts';
import { networkFault } from '../../actions/network-fault.ts';
import { userAgent } from '../../actions/user-agent.ts';
import type { EmailDestination, SlackDestination } from '../../domain/rules.ts';
import { slackUrl } from './endpoint.ts';

/** What a server said to us, short of sending anything. */
export interface Talk {
  /** null: all is well. Holds no secret of ours. */
  readonly failure: string | null;
  /** `logged in`, `as billing-bot in Acme`. */
  readonly said: string | null;
}

/** Greeting, EHLO, STARTTLS and login as for a mail; then it says goodbye. Never rejects. */
export async function greetMailServer(destination: EmailDestination, timeoutMs: number): Promise<Talk> {
  const transport = await openTransport(destination);
  const timer = new AbortController();
  const late = new Promise<never>((_, reject) => {
    const timeout = setTimeout(() => reject(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })), timeoutMs);
    timer.signal.addEventListener('abort', () => clearTimeout(timeout));
  });
  try {
    await Promise.race([transport.verify(), late]);
    return { failure: null, said: hasLogin(destination) ? 'it takes the login' : 'it greets' };
  } catch (error) {
    return { failure: refusal(error), said: null };
  } finally {
    timer.abort();
    transport.close();
  }
}

function hasLogin({ smtp }: EmailDestination): boolean {
  return typeof smtp === 'string' ? new URL(smtp).username !== '' : smtp.auth !== null;
}

/** A reply by its code: its text may repeat what we said. */
function refusal(error: unknown): string {
  const { responseCode, code } = error as { responseCode?: unknown; code?: unknown };
  if (code === 'EAUTH') return `it refuses the login${typeof responseCode === 'number' ? ` (${responseCode})` : ''}`;
  if (typeof responseCode === 'number') return `it answered ${responseCode}`;
  return networkFault(error).reason;
}

interface SlackAuth {
  readonly ok?: boolean;
  readonly error?: string;
  readonly team?: string;
  readonly user?: string;
}

/** `auth.test` posts nothing. Never rejects. null: an incoming webhook, which can only post. */
export async function testSlackToken(destination: SlackDestination, timeoutMs: number): Promise<Talk | null> {
  const { auth } = destination;
  if (auth.kind !== 'token') return null;
  try {
    const response = await fetch(new URL('auth.test', slackUrl(destination)), {
      method: 'POST',
      headers: { authorization: `Bearer ${auth.token}`, 'user-agent': userAgent },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (!response.ok) return { failure: `it answered HTTP ${response.status}`, said: null };
    const { ok, error, team, user } = (await response.json()) as SlackAuth;
    if (ok !== true) return { failure: `it refuses the token: ${error ?? 'no reason given'}`, said: null };
    return { failure: null, said: `the token is ${user ?? 'somebody'}'s in ${team ?? 'a workspace'}` };
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError')
      return { failure: 'no answer in time', said: null };
    return { failure: networkFault(error).reason, said: null };
  }
}
