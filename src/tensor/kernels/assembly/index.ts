/**
 * @file The kernels' entry file (AssemblyScript). All functions work on byte addresses in one imported memory, keep no
 * state, allocate nothing and use no fused multiply-add, so that every machine computes the same bits.
 */
export { adamw } from './adamw';
export { axpy, difference, nonFinite, scale } from './elementwise';
export { sumSquares, weightedSumSquares } from './norms';
export { weightedMean, weightedNesterov, weightedShift } from './merge';
export { bf16Decode, bf16Encode, int4Decode, int4Encode, int8Decode, int8Encode } from './codecs';
export { topkDecode, topkEncode } from './topk';
