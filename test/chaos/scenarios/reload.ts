import type { Observer } from '../observers.ts';
import type { RulesOptions } from '../rules.ts';
import type { Chaos, Scenario } from '../scenario.ts';
import { apply } from '../site.ts';

/** On a second source of a table that is written to all the time: with it, triggers come and go. */
const extra: Observer = {
  name: 'extra',
  source: 'orders',
  sourceName: 'orders-again',
  destination: 'extra',
  optional: true,
};
const base: RulesOptions = { instanceTimeoutMs: 15_000 };
const whole: RulesOptions = {
  ...base,
  sources: { 'orders-again': 'table: shop.orders, tenant: tenant' },
  observers: [extra],
};

export const reload: Scenario = {
  name: 'reload',
  promise:
    'Rules that change under load (SIGHUP, apply, triggers made and dropped, broken files in between) lose and repeat nothing of the rules that stay.',
  instances: 3,
  repeats: 'none',
  rules: whole,
  async nemesis(chaos) {
    const { random } = chaos;
    while (await chaos.rest(random.between(200, 1_500))) {
      if (random.chance(0.2)) await breakRules(chaos);
      const rules = random.chance(0.5) ? whole : base;
      await chaos.writeRules({ ...rules, policy: { audit: `concurrency: ${random.between(2, 30)}` } });
      await reloadAll(chaos);
      if (random.chance(0.5)) await chaos.faults.during({ kind: 'apply', permits: 'nothing' }, () => applyNow(chaos));
    }
  },
  async heal(chaos) {
    await chaos.writeRules(whole);
    await reloadAll(chaos);
  },
};

const applyNow = ({ program, rulesFile, cluster }: Chaos) => apply(program, rulesFile, cluster.url);

/** In any order, with some time between them: for a while, instances have different rules. */
async function reloadAll(chaos: Chaos): Promise<void> {
  const { fleet, faults, random } = chaos;
  for (const instance of [...fleet.instances].sort(() => random.next() - 0.5)) {
    await faults.during({ kind: 'reload', permits: 'nothing', instance: instance.number }, async () => {
      const answered = instance.says('the rules are loaded', ({ event }) => event === 'rules.loaded', 60_000);
      instance.signal('SIGHUP');
      await answered;
    });
  }
}

async function breakRules(chaos: Chaos): Promise<void> {
  const instance = chaos.random.pick(chaos.fleet.instances);
  await chaos.writeRules({ ...base, settings: 'no_such_setting: 1' });
  await chaos.faults.during({ kind: 'broken rules', permits: 'nothing', instance: instance.number }, async () => {
    const refused = instance.says('the rules are refused', ({ message }) => message.includes('are refused'), 60_000);
    instance.signal('SIGHUP');
    await refused;
  });
}
