/** A Map that can't be changed at run time either; Object.freeze does not reach what a Map holds. */
export class FrozenMap<K, V> extends Map<K, V> {
  constructor(entries: Iterable<readonly [K, V]>) {
    super();
    for (const [key, value] of entries) super.set(key, value);
    Object.freeze(this);
  }

  override set(): never {
    return this.#refuse();
  }

  override delete(): never {
    return this.#refuse();
  }

  override clear(): never {
    return this.#refuse();
  }

  #refuse(): never {
    throw new TypeError('a configuration is frozen');
  }
}
