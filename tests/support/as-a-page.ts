/** @file Runs before each file of unit tests, which share processes: what a program may choose for its process is as at its start. */
import { hashWith } from '../../src/protocol/hash.ts';

hashWith(null);
