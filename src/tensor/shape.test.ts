/** @file Shapes with numbers and symbols. */
import { expect, test } from 'vitest';
import {
  addDims,
  broadcastAxes,
  broadcastShapes,
  divideDims,
  multiplyDims,
  normalizeAxis,
  stridesOf,
} from './shape.ts';

test('products of symbolic sizes have one spelling', () => {
  expect(multiplyDims([3, 'time', 2, 'batch'])).toBe('6*batch*time');
  expect(multiplyDims(['batch', 6, 'time'])).toBe('6*batch*time');
  expect(multiplyDims([])).toBe(1);
  expect(divideDims('6*batch*time', '2*time')).toBe('3*batch');
  expect(divideDims('6*batch', 'time')).toBeNull();
  expect(divideDims(7, 2)).toBeNull();
});

test('a sum of symbolic sizes is opaque', () => {
  expect(addDims(2, 3)).toBe(5);
  expect(addDims('past', 1)).toBe('(past+1)');
  expect(multiplyDims([2, addDims('2*past', 1)])).toBe('2*(2xpast+1)');
});

test('broadcasting', () => {
  expect(broadcastShapes([3, 1, 'n'], [4, 'n'])).toEqual([3, 4, 'n']);
  expect(broadcastShapes([3], [4])).toBeNull();
  expect(broadcastShapes(['n'], ['m'])).toBeNull();
  expect(broadcastAxes([1, 5], [2, 3, 5])).toEqual([0, 1]);
  expect(broadcastAxes([1, 5], [1, 5])).toEqual([]);
});

test('strides and axes', () => {
  expect(stridesOf([2, 3, 5])).toEqual([15, 5, 1]);
  expect(normalizeAxis(-1, 3)).toBe(2);
  expect(normalizeAxis(3, 3)).toBeNull();
});
