/** @file The option `--device`: where the tensor engine's operators run. */
import { type Device, devices } from '../engine/device.ts';
import type { OptionDeclaration } from './command.ts';
import type { Settings } from './settings.ts';

export const deviceOption: OptionDeclaration = {
  name: 'device',
  value: 'NAME',
  description:
    'where operators run; webgpu: on a GPU, and on the CPU what it lacks (accrete doctor lists that); wasm: as WebAssembly, slowly',
  default: 'cpu',
  choices: devices,
};

export const parseDevice = (settings: Settings): Device => settings.choice('device', devices);
