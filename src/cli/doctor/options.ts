/** @file The options of `accrete doctor`. */
import type { Settings } from '../settings.ts';

export interface DoctorOptions {
  readonly dir: string;
  readonly port: number;
}

export function parseDoctorOptions(settings: Settings): DoctorOptions {
  return { dir: settings.path('dir'), port: settings.count('port', { min: 1, max: 65_535 }) };
}
