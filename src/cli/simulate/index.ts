/** @file Declares `accrete simulate`: a whole network in this process, honest or attacked. */
import type { CommandDeclaration } from '../command.ts';

export const simulate: CommandDeclaration = {
  name: 'simulate',
  description:
    'Train preset tiny with a whole simulated network, and see what an attack earns and does; with --fleet, run the real roles, journal and protocol for any fleet, attacked or not, with a model in the place of training; or, with --chaos alone, real processes that are killed, frozen and cut off.',
  options: [
    {
      name: 'attack',
      value: 'NAME',
      description:
        'what somebody tries; `list` tells all names, `none` has nobody misbehave; with --fleet, those that need no parameters',
      default: 'none',
    },
    {
      name: 'attack-share',
      value: 'X',
      description: "with --fleet and --attack: share of the machines' owners that attack, drawn by lot",
      default: '0.1',
    },
    {
      name: 'seed',
      value: 'S',
      description: 'whole number that the run follows from; the first of several',
      default: '1',
    },
    { name: 'seeds', value: 'N', description: 'runs with one seed after the other', default: '1' },
    { name: 'miners', value: 'N', description: 'honest miners', default: '8' },
    { name: 'validators', value: 'N', description: 'validators, of which an attack may own some', default: '5' },
    { name: 'tempos', value: 'N', description: 'length of a run, in tempos of the simulated chain', default: '3' },
    { name: 'step-ms', value: 'MS', description: "virtual time of an honest miner's inner step", default: '1000' },
    {
      name: 'merge-rule',
      value: 'RULE',
      description: 'how claims are averaged: mean, rda, trimmed-mean, median or centred-clip',
      default: 'mean',
    },
    {
      name: 'fleet',
      value: 'FLEET',
      description: 'a fleet by name or by its JSON file: machines, links, hours, faults (docs/simulate.md)',
    },
    { name: 'hours', value: 'H', description: 'with --fleet: virtual hours', default: '6' },
    {
      name: 'train',
      description: 'with --fleet: train preset tiny for real, up to 16 machines, and measure the held-out loss',
    },
    {
      name: 'signatures',
      value: 'MODE',
      description: 'with --fleet: real, stub, or auto (real up to 50 learners)',
      default: 'auto',
    },
    {
      name: 'freeloaders',
      value: 'N',
      description: 'with --fleet: hotkeys of each kind that claim ten times the steps and do none',
      default: '0',
    },
    {
      name: 'tick-ms',
      value: 'MS',
      description: 'with --fleet: how often the syncer looks at the clock',
      default: '1000',
    },
    { name: 'out', value: 'FILE', description: 'with --fleet: the result as JSON, for the dashboard too' },
    { name: 'journal', value: 'FILE', description: 'with --fleet: every entry, one canonical line each' },
    {
      name: 'chaos',
      value: 'SEED',
      description:
        "whole number that faults follow from; runs real processes under them instead of a simulation; with --fleet, adds them to the fleet's own",
    },
    { name: 'faults', value: 'N', description: 'with --chaos: number of faults', default: '100' },
    { name: 'minutes', value: 'N', description: 'with --chaos: minutes that the faults are spread over', default: '3' },
    { name: 'syncers', value: 'N', description: 'with --chaos: 1, or 2 of which one leads', default: '1' },
    { name: 'dir', value: 'DIR', description: 'with --chaos: new folder of the run', default: '.accrete/chaos' },
  ],
  example: './bin/accrete simulate --attack noise',
  load: () => import('./handler.ts'),
};
