// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${{ }} is what is under test.
import { describe, expect, it } from 'vitest';
import { ExpressionError, type TemplateMode } from '../../src/domain/expression.ts';
import { CompileError, compileTemplate, isStaticTemplate, unmaskAddress } from '../../src/expression/index.ts';
import { caught, record, scope, uid } from './record.ts';

const hostile = `"\\ \n\r\t</script> \${{ new.secret }} }} {"a": 1} & 'x'`;
const row = scope({
  new: `{"id": 42, "name": ${JSON.stringify(hostile)}, "secret": "s3cret", "total": 100.00, "big": 9007199254740993, "wei": 123456789012345678901234567890.12345, "note": null, "tags": ["a", 1.50], "address": {"lat": 1.10, "city": "Köln"}, "constructor": {"k": 1.0}}`,
  context: '{"user": 12345678901234567890}',
});

const text = (template: unknown, mode: TemplateMode = 'plain') => compileTemplate(template, mode).renderText(row);
const json = (template: unknown, mode: TemplateMode = 'plain') => compileTemplate(template, mode).renderJson(row);
const value = (template: unknown, mode: TemplateMode = 'plain') => compileTemplate(template, mode).render(row);

describe('a template', () => {
  it('keeps numbers digit for digit', () => {
    expect(json('${{ new.total }}')).toBe('100.00');
    expect(json('${{ new.big }}')).toBe('9007199254740993');
    expect(json('${{ new["wei"] }}')).toBe('123456789012345678901234567890.12345');
    expect(json('${{ new.tags }}')).toBe('["a",1.50]');
    expect(json('${{ new.tags[1] }}')).toBe('1.50');
    expect(json('${{ new.address }}')).toBe('{"lat":1.10,"city":"Köln"}');
    expect(json('${{ new.constructor.k }}')).toBe('1.0');
    expect(json('${{ new }}')).toBe(record(row.record).new);
    expect(json('${{ event.context.user }}')).toBe('12345678901234567890');
    expect(text('${{ new.total }} of ${{ new.wei }}')).toBe('100.00 of 123456789012345678901234567890.12345');
    expect(text('${{ new.address }}')).toBe('{"lat":1.10,"city":"Köln"}');
  });

  it('keeps the type of a lone expression', () => {
    expect(value({ a: '${{ new.id }}', b: ['${{ new.tags }}', '#${{ new.id }}'], c: 5, d: null, e: true })).toEqual({
      a: 42,
      b: [['a', 1.5], '#42'],
      c: 5,
      d: null,
      e: true,
    });
    expect(value('${{ new.big }}')).toBe(9007199254740993n);
    expect(value('${{ size(new.tags) }}')).toBe(2);
    expect(json({ n: '${{ size(new.tags) }}', when: '${{ ts("2026-11-20") }}', ok: '${{ new.id == 42 }}' })).toBe(
      '{"n":2,"when":"2026-11-20T00:00:00.000Z","ok":true}',
    );
  });

  it('writes every kind of value', () => {
    expect(json('${{ 9223372036854775807 }}')).toBe('9223372036854775807');
    expect(json('${{ new.id / 5.0 }}')).toBe('8.4');
    expect(json('${{ 1.0 / 0.0 }}')).toBe('null');
    expect(json('${{ duration("1d") }}')).toBe('"86400s"');
    expect(json('${{ b"\\xff\\x00" }}')).toBe('"/wA="');
    expect(json('${{ {"a": [1, null, 2u], "b": {"c": ts("infinity")}} }}')).toBe(
      '{"a":[1,null,2],"b":{"c":"infinity"}}',
    );
    expect(json('${{ new.?id }}')).toBe('42');
    expect(json('${{ new.?nope }}')).toBe('null');
    expect(json('${{ type(new.id) }}')).toBe('"double"');
    expect(JSON.parse(json('${{ event }}'))).toMatchObject({ id: uid, table: 'public.orders', tenant: null });
  });

  it('writes what is missing as null in JSON and as nothing in text', () => {
    const nothing = ['${{ new.note }}', '${{ new.nope }}', '${{ old.nope.at }}', '${{ old }}', '${{ payload.x }}'];
    expect(nothing.map((source) => json(source))).toEqual(['null', 'null', 'null', 'null', 'null']);
    expect(nothing.map((source) => text(source))).toEqual(['', '', '', '', '']);
    expect(text('a${{ new.nope }}b')).toBe('ab');
  });

  it('leaves what is no expression alone', () => {
    for (const plain of ['', 'Thank you!', '{{ x }}', '$ {{', '}}', '$${', 'a\nb']) {
      expect(text(plain)).toBe(plain);
      expect(isStaticTemplate(plain)).toBe(true);
    }
    expect(isStaticTemplate({ a: [1, { b: 'x' }] })).toBe(true);
    expect(isStaticTemplate({ a: [1, { b: '${{ 1 }}' }] })).toBe(false);
    expect(text(42)).toBe('42');
    expect(text(null)).toBe('');
    expect(json(123456789012345678901234567890n)).toBe('123456789012345678901234567890');
  });

  it('ends an expression where it parses', () => {
    expect(json('${{{"a": {"b": 1}}}}')).toBe('{"a":{"b":1}}');
    expect(text('${{ "}}" }}|${{ "${{" }}|${{new.id}}')).toBe('}}|${{|42');
    expect(text('${{ new.id }} }}')).toBe('42 }}');
    expect(text('${{ new.id }}${{ new.id }}')).toBe('4242');
  });
});

describe('a value can not inject', () => {
  it('structure into JSON', () => {
    const rendered = json({ name: '${{ new.name }}', mixed: 'Dear ${{ new.name }}!', __proto__x: ['${{ new.name }}'] });
    expect(JSON.parse(rendered)).toEqual({ name: hostile, mixed: `Dear ${hostile}!`, __proto__x: [hostile] });
  });

  it('another expression', () => {
    expect(text('${{ new.name }}')).toBe(hostile);
    expect(text('<${{ new.name }}>')).not.toContain('s3cret');
  });

  it('markup, unless raw() says so', () => {
    const escaped = hostile.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    const html = escaped.replaceAll('"', '&quot;').replaceAll("'", '&#39;');
    expect(text('<p>${{ new.name }}</p>', 'html')).toBe(`<p>${html}</p>`);
    expect(text('${{ new.name }}', 'html')).toBe(html);
    expect(text('<p>${{ raw(new.name) }}</p>', 'html')).toBe(`<p>${hostile}</p>`);
    expect(text('${{ new.?name }}', 'html')).toBe(html);
    expect(text('${{ [new.name] }}', 'html')).not.toContain('<');
    expect(text('*${{ new.name }}*', 'mrkdwn')).toBe(`*${escaped}*`);
    expect(value({ text: '${{ new.name }}' }, 'mrkdwn')).toEqual({ text: escaped });
    expect(
      JSON.parse(json(['${{ [{"text": new.name}] }}', '${{ raw(new.name) }}', '${{ new.?name }}'], 'mrkdwn')),
    ).toEqual([[{ text: escaped }], hostile, escaped]);
    expect(JSON.parse(json('${{ new }}', 'html')).name).toBe(html);
    expect(JSON.parse(json('${{ new.constructor }}', 'html'))).toEqual({ k: 1 });
    expect(json('${{ new.total }}', 'mrkdwn')).toBe('100.00');
  });

  it('what Slack reads as mrkdwn, and nothing else of its blocks', () => {
    const on = scope({ payload: '"<!channel> & co"' });
    const rendered = (template: unknown, mode: TemplateMode = 'blocks') => compileTemplate(template, mode).render(on);
    const [raw, safe] = ['<!channel> & co', '&lt;!channel&gt; &amp; co'];
    const text = '${{ payload }}';
    expect(
      rendered([
        { type: 'section', text: { type: 'mrkdwn', text } },
        { type: 'markdown', text },
      ]),
    ).toEqual([
      { type: 'section', text: { type: 'mrkdwn', text: safe } },
      { type: 'markdown', text: safe },
    ]);
    expect(rendered({ type: 'plain_text', text })).toEqual({ type: 'plain_text', text: raw });
    expect(rendered({ type: '${{ "plain_text" }}', text })).toEqual({ type: 'plain_text', text: safe });
    expect(rendered({ type: 'button', url: text, value: text, action_id: text })).toEqual({
      type: 'button',
      url: raw,
      value: raw,
      action_id: raw,
    });
    const attachment = { color: text, pretext: text, text, title_link: text, fields: [{ title: text, value: text }] };
    expect(rendered([attachment])).toEqual([
      { color: raw, pretext: safe, text: safe, title_link: raw, fields: [{ title: safe, value: safe }] },
    ]);
    // The same where a whole block comes from data.
    const data =
      '{"type": payload, "text": {"type": "mrkdwn", "text": payload}, "plain": {"type": "plain_text", "text": payload}}';
    for (const mode of ['blocks', 'mrkdwn'] as const) {
      expect(rendered({ type: 'section', text: `\${{ ${data} }}` }, mode)).toEqual({
        type: 'section',
        text: { type: raw, text: { type: 'mrkdwn', text: safe }, plain: { type: 'plain_text', text: raw } },
      });
    }
    expect(rendered('${{ {"type": "mrkdwn", "text": [payload][?0]} }}')).toEqual({ type: 'mrkdwn', text: safe });
  });

  it('an address: no value ends its mailbox or begins another', () => {
    const hostile = 'A "b" <x@evil.example>, y@evil.example; (c) [d] \\\r\n\ufdd3';
    const on = scope({ payload: JSON.stringify(hostile) });
    const rendered = compileTemplate('${{ payload }} <${{ raw(payload) }}>', 'address').renderText(on);
    expect(rendered).not.toMatch(/[,;()[\]"\\\r\n]/);
    expect(rendered.match(/[<> ]/g)).toEqual([' ', '<', '>']);
    const once = hostile.replace(/[\r\n\ufdd3]/g, '');
    expect(unmaskAddress(rendered)).toBe(`${once} <${once}>`);
    expect(compileTemplate('${{ payload }}', 'address').render(on)).toBe(hostile);
  });

  it('a header', () => {
    const injected = compileTemplate('Order ${{ payload }}\n', 'header');
    const on = scope({ payload: '"1\\r\\nBcc: a@b.c\\u0001\\u0000"' });
    expect(injected.renderText(on)).toBe('Order 1Bcc: a@b.c\u0001');
    expect(compileTemplate('${{ payload }}', 'header').render(on)).toBe('1Bcc: a@b.c\u0001');
    expect(compileTemplate('${{ raw(payload) }}', 'header').renderText(on)).toBe('1Bcc: a@b.c\u0001');
    expect(text('x\r\n', 'header')).toBe('x');
  });

  it('more than the limit', () => {
    const long = scope({ new: JSON.stringify({ body: 'x'.repeat(600_000) }) });
    const twice = compileTemplate('${{ new.body }}${{ new.body }}', 'plain');
    expect(caught(() => twice.renderText(long))).toBeInstanceOf(ExpressionError);
    expect(compileTemplate('${{ new.body }}', 'plain').renderText(long)).toHaveLength(600_000);
    const many = compileTemplate(
      '${{ [1,2,3,4,5,6,7,8,9,10].map(x, [1,2,3,4,5,6,7,8,9,10,11,12].map(y, new.body)) }}',
      'plain',
    );
    expect(String(caught(() => many.renderJson(long)))).toContain('characters of JSON');
  });
});

describe('a template that can’t be evaluated', () => {
  it('is an ExpressionError in every rendering', () => {
    for (const source of [
      '${{ new.name.first }}',
      'x ${{ new.name.first }}',
      '${{ new.name > 5 }}',
      '${{ new.id[0] }}',
    ]) {
      const template = compileTemplate({ a: source }, 'plain');
      for (const render of ['render', 'renderText', 'renderJson'] as const) {
        expect(caught(() => template[render](row))).toBeInstanceOf(ExpressionError);
      }
    }
  });

  it('survives nesting that only recursion could follow', () => {
    const deep = scope({ payload: `${'['.repeat(200_000)}1.0${']'.repeat(200_000)}` });
    for (const source of ['${{ payload[0] }}', '${{ string(payload) }}']) {
      expect(caught(() => compileTemplate(source, 'plain').renderJson(deep))).toBeInstanceOf(ExpressionError);
    }
    expect(compileTemplate('${{ payload }}', 'plain').renderJson(deep)).toBe(deep.record.payload);
  });
});

describe('a template is refused at load, with path and offset', () => {
  const refused: readonly [template: unknown, path: readonly (string | number)[], offset: number, message: RegExp][] = [
    ['Dear ${{ new.name', [], 5, /unterminated/],
    ['${{ }}', [], 3, /empty/],
    ['${{ new.name + }} x }}', [], 15, /the end of the expression/],
    ['a ${{ nope }} b ${{ new.id }}', [], 6, /Unknown variable: nope/],
    [{ a: [{ b: 'x ${{ event.nope }}' }] }, ['a', 0, 'b'], 12, /No such key: nope/],
    [{ '${{ new.id }}': 1 }, ['${{ new.id }}'], 0, /taken literally/],
    [[Number.POSITIVE_INFINITY], [0], 0, /no place in JSON/],
    [new Date(0), [], 0, /takes a text/],
    [`\${{ "${'x'.repeat(5000)}" }}`, [], 0, /longer than 4096/],
    [`\${{ ${'}}'.repeat(3000)}`, [], 3, /empty|Unexpected/],
  ];
  it.each(refused)('%j', (template, path, offset, message) => {
    const error = caught(() => compileTemplate(template, 'plain')) as CompileError;
    expect(error).toBeInstanceOf(CompileError);
    expect(error.message).toMatch(message);
    expect(error.path).toEqual(path);
    expect(error.offset).toBe(offset);
  });

  it('and nesting too', () => {
    let deep: unknown = '${{ 1 }}';
    for (let level = 0; level < 100; level++) deep = [deep];
    expect(caught(() => compileTemplate(deep, 'plain'))).toBeInstanceOf(CompileError);
  });
});
