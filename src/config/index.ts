/** observers.yaml → frozen, typed configuration with every reference resolved and every unit in milliseconds. */
export type { DeliveryInput } from './delivery-input.ts';
export type {
  ActionInput,
  ConfigInput,
  DestinationInput,
  ObserverInput,
  SettingsInput,
  SourceInput,
} from './input.ts';
export { defineConfig, type LoadOptions, loadConfig, type ParseOptions, parseConfig } from './load.ts';
export { loadModules } from './modules.ts';
export { durationHint, formatDuration, parseDuration, parseRate, rateHint } from './units.ts';
