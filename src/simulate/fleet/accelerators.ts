/**
 * @file Tokens a second of known machines: peak × MFU / (6 · active parameters). Peaks are the vendors' own dense figures for bf16
 * products with float32 accumulation; the share of the peak that training reaches (MFU) is a range from published runs, and
 * the middle is taken where a fleet's file says nothing. No machine of this table has trained `quasar_long` with Accrete.
 */

export interface Accelerator {
  readonly name: string;
  readonly peakTflops: number;
  /** Of one, in the larger version where there are two (A100: 80). */
  readonly memoryGib: number;
  /** Of both. */
  readonly source: string;
}

export const accelerators: readonly Accelerator[] = [
  {
    name: 'h100-sxm',
    peakTflops: 989,
    memoryGib: 80,
    source: 'NVIDIA H100 data sheet: 1,979 with sparsity, half of it dense',
  },
  { name: 'h100-pcie', peakTflops: 756, memoryGib: 80, source: 'NVIDIA H100 data sheet: 1,513 with sparsity' },
  { name: 'h200-sxm', peakTflops: 989, memoryGib: 141, source: 'NVIDIA H200 data sheet: 1,979 with sparsity' },
  { name: 'a100-sxm', peakTflops: 312, memoryGib: 80, source: 'NVIDIA A100 data sheet' },
  { name: 'l40s', peakTflops: 362, memoryGib: 48, source: 'NVIDIA L40S data sheet: 733 with sparsity' },
  { name: 'l4', peakTflops: 121, memoryGib: 24, source: 'NVIDIA L4 data sheet: 242 with sparsity' },
  {
    name: 'rtx-4090',
    peakTflops: 165,
    memoryGib: 24,
    source: 'NVIDIA Ada white paper: 165.2 with float32 accumulation, dense',
  },
  {
    name: 'rtx-3090',
    peakTflops: 71,
    memoryGib: 24,
    source: 'NVIDIA GA102 white paper: 71 with float32 accumulation, dense',
  },
  { name: 'mi300x', peakTflops: 1_307, memoryGib: 192, source: 'AMD Instinct MI300X data sheet' },
  { name: 'tpu-v5e', peakTflops: 197, memoryGib: 16, source: 'Google Cloud TPU v5e documentation' },
  { name: 'tpu-v5p', peakTflops: 459, memoryGib: 95, source: 'Google Cloud TPU v5p documentation' },
];

/**
 * Published: PaLM 540B 46 % (arXiv:2204.02311), Llama 3 405B 38-43 % on H100 (arXiv:2407.21783), DeepSeek-V3, a mixture of experts,
 * 35 % of the bf16 peak by 6·37B·14.8T over 2.664M H800 hours, in fp8 (arXiv:2412.19437). A mixture with experts as narrow as
 * quasar_long's (512), in bf16, by a program that is not tuned for it, may well lie below all of these.
 */
export const mfuRange = { low: 0.15, middle: 0.3, high: 0.4 } as const;

export const acceleratorNote =
  'tokens a second of a named accelerator = peak × MFU / (6 × active parameters); MFU 0.15 to 0.40 after published runs (PaLM 0.46, Llama 3 0.38-0.43, DeepSeek-V3 0.35 by 6·N·D), 0.30 where the fleet says nothing; nobody has measured quasar_long on any of them';

export const precisionNote =
  "the table's peaks are of bf16 products; recipes say precision f32, and products in float32 have half that peak or less on these machines (MFU counts from bf16)";

export const acceleratorNamed = (name: string): Accelerator | undefined =>
  accelerators.find((accelerator) => accelerator.name === name);

/** 6 FLOPs a parameter and token: 2 forward, 4 backward (Kaplan et al. 2020, arXiv:2001.08361); attention scores are left out. */
export function tokensPerSecondOf(options: {
  readonly peakTflops: number;
  readonly count: number;
  readonly mfu: number;
  readonly activeParameters: number;
}): number {
  const { peakTflops, count, mfu, activeParameters } = options;
  return (peakTflops * 1e12 * count * mfu) / (6 * activeParameters);
}
