/**
 * @file Runs before each file of unit tests, which share processes: what a program may choose for its process is as each command
 * chooses it. Hashes are the platform's; tests of the portable program say `hashWith(null)`.
 */
import { hashWith } from '../../src/protocol/hash.ts';
import { nodePlatformSha256 } from '../../src/util/node-sha256.ts';
import { compareBytesFast } from './compare-bytes.ts';

hashWith(nodePlatformSha256);
compareBytesFast();
