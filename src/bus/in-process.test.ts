/** @file The contract of the bus, held by the bus in process. */
import { testBus } from '../../tests/contracts/bus.ts';
import { InProcessBus } from './in-process.ts';

testBus('in process', async () => {
  const bus = new InProcessBus();
  return { a: bus, b: bus, close: () => bus.close() };
});
