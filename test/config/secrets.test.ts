// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { expect, test } from 'vitest';
import { messagesOf, parse, shop } from './support.ts';

const key = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

test('secrets are known for redaction, and only secrets', () => {
  const { secrets } = parse(
    `version: 1
database: postgres://app:\${DB_PASSWORD}@localhost/shop
destinations:
  hook:
    webhook:
      url: https://a.example/\${PATH_PART}
      secret: [\${KEY}, ${key.replace('Mf', 'Ng')}]
      headers: { authorization: Bearer \${API_TOKEN}, x-plain: public }
  mail: { email: { smtp: 'smtp://u:m%40il@localhost', from: a@example.com } }
  bot: { slack: { token: xoxb-4711 } }
  incoming: { slack: { webhook_url: https://hooks.example.com/T1 } }
`,
    { DB_PASSWORD: 'dbpass', KEY: key, API_TOKEN: 'api-token', PATH_PART: 'hooks' },
  );
  expect([...secrets].sort()).toEqual(
    [
      ...['dbpass', key, key.replace('Mf', 'Ng'), 'api-token', 'Bearer api-token', 'm%40il', 'm@il', 'xoxb-4711'],
      'https://hooks.example.com/T1',
    ].sort(),
  );
});

test('no message tells the value of a variable', () => {
  const secret = 'Zq8x-unmistakable';
  const yaml = shop(`  # wrong in every place that quotes what it found
  v1: { webhook: { url: \${V}, secret: \${V}, headers: { a: "\${V}\\n" } }, timeout: \${V}, concurrency: \${V}, rate_limit: \${V} }
  v2: { email: { smtp: \${V}, from: \${V} }, retry: { jitter: \${V}, initial: \${V}, factor: \${V} } }
observers:
  o: { source: \${V}, on: [\${V}], when: \${V}, order_by: \${V} +, actions: [{ webhook: \${V}, name: \${V} \${V} }] }
  p: { source: orders, on: [\${V}], when: { \${V}: 1, new.x: { gt: [\${V}] } }, actions: [{ webhook: billing, body: "\${{ x }}\${V}" }] }
settings: { listen: \${V}, attempts: \${V}, environment: \${V} \${V}, retention: { events: \${V} } }
`).replace('table: orders', 'table: ${V}, operations: [${V}], notify: ${V}');
  const messages = messagesOf(yaml, { V: secret, PG_OBSERVERS_POLL_INTERVAL: secret });
  expect(messages.length).toBeGreaterThan(20);
  expect(messages.join('\n')).not.toContain(secret);
});

test('versions change with the rule and its destinations, not with secrets, order or comments', () => {
  const yaml = (
    options: { when?: string; timeout?: string; secret?: string; note?: string } = {},
  ): string => `version: 1
sources: { s: { topic: t } } # ${options.note ?? 'a note'}
destinations:
  a: { webhook: { url: https://a.example, secret: ${options.secret ?? key} }, timeout: ${options.timeout ?? '1s'} }
  b: { webhook: { url: https://b.example } }
observers:
  o: { source: s, when: ${options.when ?? 'payload.x == 1'}, actions: [{ webhook: a }] }
  p: { source: s, actions: [{ webhook: b }] }
`;
  const versions = (text: string, env = {}): (string | undefined)[] => {
    const config = parse(text, env);
    return [config.version, config.observers.get('o')?.version, config.observers.get('p')?.version];
  };
  const [all, o, p] = versions(yaml());
  expect(all).toMatch(/^[0-9a-f]{12}$/);
  expect(versions(yaml({ note: 'another' }))).toEqual([all, o, p]);
  expect(versions(yaml({ secret: key.replace('Mf', 'Ng') }))).toEqual([all, o, p]);
  expect(versions(yaml({ secret: '${KEY}' }), { KEY: key })).toEqual([all, o, p]);
  for (const changed of [yaml({ when: 'payload.x == 2' }), yaml({ timeout: '2s' })]) {
    const [newAll, newO, newP] = versions(changed);
    expect(newAll).not.toBe(all);
    expect(newO).not.toBe(o);
    expect(newP).toBe(p);
  }
});
