/**
 * Where events and deliveries live. The stages know only these interfaces and meet nowhere else: capture fills the log,
 * decide moves a checkpoint over it and fills the queue, deliver empties the queue, recover looks after both.
 *
 * All methods may throw when the transport is away; callers wait and try again. All times are the transport's own clock:
 * the clocks of the sidecars' hosts decide nothing.
 */

export * from './contract/archive.ts';
export * from './contract/capture.ts';
export * from './contract/decide.ts';
export * from './contract/deliver.ts';
export * from './contract/recover.ts';
