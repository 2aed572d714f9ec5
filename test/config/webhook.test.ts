// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the format's own syntax here
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { WebhookAction, WebhookDestination } from '../../src/domain/rules.ts';
import { parse } from './support.ts';

const pem = (name: string) => readFileSync(new URL(`../actions/tls/${name}`, import.meta.url), 'utf8');
const env = {
  TOKEN: 'api-token-1',
  PASSWORD: 'pass-word-1',
  CLIENT_SECRET: 'client-secret-1',
  QUERY_KEY: 'query-key-1',
};

function destination(webhook: string, more = '', files: Record<string, string> = {}) {
  const yaml = `version: 1\n${more}\ndestinations:\n  hook:\n    webhook: ${webhook}\n`;
  const config = parse(yaml, env, files);
  return { hook: config.destinations.get('hook') as WebhookDestination, secrets: config.secrets };
}

function actions(destinations: string, ...written: string[]): WebhookAction[] {
  const yaml = `version: 1
sources: { orders: { table: orders } }
destinations: { hook: { webhook: ${destinations} } }
observers: { o: { source: orders, actions: [${written.join(', ')}] } }\n`;
  return parse(yaml, env).observers.get('o')?.actions as WebhookAction[];
}

describe('what proves who we are is a secret, wherever it stands', () => {
  test('bearer', () => {
    const { hook, secrets } = destination('{ url: https://a.example, auth: { bearer: "${TOKEN}" } }');
    expect(hook.headers).toEqual({ authorization: 'Bearer api-token-1' });
    expect(secrets).toContain('api-token-1');
  });

  test('basic', () => {
    const { hook, secrets } = destination(
      '{ url: https://a.example, auth: { basic: { username: me, password: "${PASSWORD}" } } }',
    );
    expect(hook.headers).toEqual({ authorization: `Basic ${btoa('me:pass-word-1')}` });
    expect(secrets).toEqual(expect.arrayContaining(['pass-word-1', btoa('me:pass-word-1')]));
  });

  test('oauth2', () => {
    const oauth2 =
      '{ token_url: https://l.example/t, client_id: me, client_secret: "${CLIENT_SECRET}", scope: [a, b], client_auth: post }';
    const { hook, secrets } = destination(`{ url: https://a.example, auth: { oauth2: ${oauth2} } }`);
    expect(hook.oauth2).toEqual({
      tokenUrl: 'https://l.example/t',
      clientId: 'me',
      clientSecret: 'client-secret-1',
      scope: 'a b',
      audience: null,
      clientAuth: 'post',
    });
    expect(secrets).toContain('client-secret-1');
  });

  test('tls, from files', () => {
    const files = { ca: pem('authority.crt'), cert: pem('client.crt'), key: pem('client-encrypted.key') };
    const tls =
      '{ ca: "${file:ca}", cert: "${file:cert}", key: "${file:key}", passphrase: open-sesame, server_name: a.test }';
    const { hook, secrets } = destination(`{ url: https://a.example, tls: ${tls} }`, '', files);
    expect(hook.tls).toMatchObject({ passphrase: 'open-sesame', serverName: 'a.test' });
    expect(secrets).toEqual(expect.arrayContaining([hook.tls?.key, 'open-sesame']));
    const refused =
      (changed: Record<string, string>, more = 'passphrase: open-sesame') =>
      () =>
        destination(`{ url: https://a.example, tls: { cert: "\${file:cert}", key: "\${file:key}", ${more} } }`, '', {
          ...files,
          ...changed,
        });
    expect(refused({ key: pem('server.key') })).toThrowError('`key` does not belong to `cert`');
    expect(refused({}, 'passphrase: wrong')).toThrowError('can’t be read with this passphrase');
    expect(refused({}, '')).toThrowError('`key` is encrypted');
  });

  test('what a variable puts into the query of a template', () => {
    expect(destination('{ url: "https://a.example/${{ new.id }}?key=${QUERY_KEY}" }').secrets).toEqual(['query-key-1']);
  });

  test('none of it counts in the version of the rules', () => {
    const version = (auth: string) =>
      parse(`version: 1\ndestinations: { a: { webhook: { url: https://a.example, auth: ${auth} } } }\n`).version;
    expect(version('{ bearer: one }')).toBe(version('{ bearer: two }'));
    expect(version('{ basic: { username: u, password: a } }')).toBe(version('{ basic: { username: u, password: b } }'));
    expect(version('{ basic: { username: u, password: a } }')).not.toBe(
      version('{ basic: { username: v, password: a } }'),
    );
  });
});

describe('addresses', () => {
  test('are inherited key by key', () => {
    const defaults = 'defaults: { addresses: { guard: on, deny: 10.0.0.1, allow: [a.example] } }';
    const yaml = `version: 1\n${defaults}\ndestinations:\n  hook: { webhook: { url: https://a.example }, addresses: { allow: ["*.ÄB.example.", fd00::/8] } }\n`;
    const hook = parse(yaml).destinations.get('hook');
    expect(hook?.addresses).toEqual({ guard: 'on', deny: ['10.0.0.1'], allow: ['*.xn--b-zfa.example.', 'fd00::/8'] });
  });
});

describe('actions', () => {
  test('have the method, format and query of their destination, or their own', () => {
    const [inherited, own] = actions(
      '{ url: https://a.example, method: PUT, format: form, query: { a: 1, b: [x, y] } }',
      '{ webhook: hook, body: { id: "${{ new.id }}", tags: [a, b] } }',
      '{ webhook: hook, method: PATCH, format: text, body: x, query: { b: z, c: "${{ new.id }}" } }',
    );
    expect(inherited).toMatchObject({ method: 'PUT', format: 'form', body: null });
    expect(inherited?.form.map(({ name }) => name)).toEqual(['id', 'tags', 'tags']);
    expect(inherited?.query.map(({ name, source }) => [name, source])).toEqual([
      ['a', '1'],
      ['b', '"x"'],
      ['b', '"y"'],
    ]);
    expect(own).toMatchObject({ method: 'PATCH', format: 'text', form: [] });
    expect(own?.query.map(({ name, source }) => [name, source])).toEqual([
      ['a', '1'],
      ['b', '"z"'],
      ['c', '"${{ new.id }}"'],
    ]);
  });

  test('a literal URL may hold expressions; its name holds no secret', () => {
    const named = actions(
      '{ url: https://a.example }',
      '{ webhook: "https://a.example/${{ new.id }}" }',
      '{ webhook: "${{ new.url }}" }',
      '{ webhook: "https://a.example/${{ new.id }}?key=${QUERY_KEY}" }',
    ).map(({ destination: { name } }) => name);
    expect(named).toEqual([
      'https://a.example/${{ new.id }}',
      '${{ new.url }}',
      expect.stringMatching(/^https:\/\/a\.example\/\$\{\{ new\.id \}\}~[0-9a-f]{8}$/),
    ]);
  });

  test('two templates are two destinations, and a changed one is told from the one before', () => {
    const url = (path: string) =>
      JSON.stringify(destination(`{ url: "https://a.example/\${{ ${path} }}", query: { q: "\${{ ${path} }}" } }`).hook);
    expect(url('new.a')).not.toBe(url('new.b'));
  });
});
