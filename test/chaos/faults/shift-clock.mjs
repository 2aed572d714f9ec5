// For `node --import`: the wall clock of a host that is wrong, or jumps. CHAOS_CLOCK: offsets in milliseconds, with commas;
// another one holds each second. performance.now() and timers stay, as they do when a host's clock is set.
const offsets = (process.env.CHAOS_CLOCK ?? '0').split(',').map(Number);
const TrueDate = Date;
const trueNow = TrueDate.now.bind(TrueDate);
const now = () => trueNow() + (offsets[Math.floor(performance.now() / 1000) % offsets.length] ?? 0);

class ShiftedDate extends TrueDate {
  constructor(...parts) {
    if (parts.length === 0) super(now());
    else super(...parts);
  }

  static now() {
    return now();
  }
}

globalThis.Date = ShiftedDate;
