/** How much of the log is read at once. */
export interface PageSizes {
  /** Ids fetched at once: paging a delta of a million by a thousand would sort it a thousand times. */
  readonly idsPerDelta: number;
  /** A delta of so few brings its events along: a round trip less where latency counts. */
  readonly eventsPerDelta: number;
  /** Events decided and committed at once. */
  readonly eventsPerSlice: number;
  /** Bytes of a slice, roughly, so that 1,000 rows of 10 MB don't meet in memory. Three slices may: two are read ahead. */
  readonly bytesPerSlice: number;
}

export const defaultPages: PageSizes = {
  idsPerDelta: 100_000,
  eventsPerDelta: 100,
  eventsPerSlice: 1_000,
  bytesPerSlice: 8 * 1024 * 1024,
};
