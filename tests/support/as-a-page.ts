/** @file Runs before each file of the dashboard's tests, which share processes: hashes are the portable program's, as in a browser. */
import { hashWith } from '../../src/protocol/hash.ts';

hashWith(null);
