/** @file Config parsing, refusals by name, the parameter contract's counts, initial values. */
import { describe, expect, it } from 'vitest';
import { elementCount } from '../../tensor/contract.ts';
import { ModelError } from '../errors.ts';
import { branchesByLayer, parseConfig, toConfigJson } from './config.ts';
import { buildContract, countParameters } from './contract.ts';
import { floatsOf, glaLogDecays, initParams, initTensor } from './init.ts';
import { presetConfig, presetNames } from './presets.ts';
import { variants } from './test-support.ts';

function faultOf(fields: unknown): { code: string; field: unknown } {
  try {
    parseConfig(fields);
  } catch (error) {
    if (error instanceof ModelError) return { code: error.code, field: error.context.field };
    throw error;
  }
  return { code: 'OK', field: null };
}

describe('config', () => {
  it('has the defaults of the config class', () => {
    const config = parseConfig({});
    expect(config).toMatchObject({
      rope_theta: 600000,
      hybrid_alpha_init: -15,
      routed_scaling_factor: 1,
      use_nope: false,
    });
    expect(branchesByLayer(config)).toEqual(new Array(20).fill([]));
  });

  it('comes back from its own config.json', () => {
    for (const name of presetNames) {
      const config = presetConfig(name);
      expect(parseConfig(JSON.parse(JSON.stringify(toConfigJson(config)))), name).toEqual(config);
    }
  });

  it.each(variants)('comes back, with %s', (_name, overrides) => {
    const config = presetConfig('tiny', overrides);
    const fields = JSON.parse(JSON.stringify(toConfigJson(config)));
    expect(parseConfig(fields)).toEqual(config);
    // What the object of the variant asks for is in the file, under the same name.
    expect(fields).toMatchObject(overrides);
  });

  it('takes the informational fields of other programs', () => {
    const known = { use_cache: true, transformers_version: '4.57', auto_map: { AutoConfig: 'x' }, z_loss_coef: 0 };
    expect(parseConfig({ ...toConfigJson(presetConfig('tiny')), ...known })).toEqual(presetConfig('tiny'));
  });

  it('refuses what no formula is known for only where it is used', () => {
    const meta = { hybrid_local_meta_tokens: 4 };
    expect(presetConfig('tiny', meta)).toEqual(presetConfig('tiny'));
    const window = { ...toConfigJson(presetConfig('tiny', { hybrid_local_window_size: 4 })), ...meta };
    expect(faultOf(window)).toEqual({ code: 'UNSUPPORTED_VARIANT', field: 'hybrid_local_meta_tokens' });
    const noRaven = { hybrid_raven_enabled: false };
    const decay = { hybrid_raven_decay_type: 'GLA' };
    expect(presetConfig('tiny', { ...noRaven, ...decay })).toEqual(presetConfig('tiny', noRaven));
  });

  it('takes any value of a field that the architecture does not read', () => {
    const unread = {
      ...{ score_function: 'softmax', norm_topk_prob: false, moe_router_enable_expert_bias: false, use_rmsnorm: false },
      ...{ router_dtype: 'bf16', embedding_dropout: 0.1, output_dropout: 0.1, hybrid_gla_expand_k: 0.5 },
      ...{ hybrid_gla_expand_v: 2, hybrid_gla_mode: 'fused_chunk', moe_shared_expert_intermediate_size: 7 },
      ...{ max_window_layers: 3, hybrid_skip_gqa_in_full_replacement: true },
    };
    expect(parseConfig({ ...toConfigJson(presetConfig('tiny')), ...unread })).toEqual(presetConfig('tiny'));
  });

  it('takes the config.json of the released checkpoint', () => {
    const released = presetConfig('quasar-preview');
    const written = {
      ...toConfigJson(released),
      ...{ architectures: ['QuasarLongForCausalLM'], dtype: 'bfloat16', torch_dtype: 'bfloat16', use_cache: true },
      auto_map: { AutoConfig: 'configuration_quasar_long.QuasarLongConfig' },
      ...{
        hybrid_eval_force_branch: '',
        hybrid_eval_mode: 'hybrid_add',
        hybrid_gla_expand_k: 1,
        hybrid_gla_expand_v: 1,
      },
      ...{ max_seq_length: 5000000, max_sequence_length: 5000000, max_window_layers: 20, hybrid_gla_mode: 'chunk' },
      ...{ output_router_logits: false, router_dtype: 'fp32', transformers_version: '4.52.3' },
      rope_parameters: { partial_rotary_factor: 0.5, rope_theta: 10000, rope_type: 'default' },
    };
    expect(parseConfig(written)).toEqual(released);
    const { rope_theta, partial_rotary_factor, ...moved }: Record<string, unknown> = written;
    expect(parseConfig(moved)).toEqual(released);
  });

  it('has no default of a token beyond the vocabulary', () => {
    expect(parseConfig({ vocab_size: 64 })).toMatchObject({ pad_token_id: null, eos_token_id: null });
    expect(parseConfig({})).toMatchObject({ pad_token_id: 156892, eos_token_id: 156892 });
    expect(parseConfig({ num_shared_experts: null, head_dim: null })).toMatchObject({
      num_shared_experts: 0,
      head_dim: 128,
    });
  });

  it('takes gla out of layers that hybrid_gla_layers leaves out', () => {
    const only = { hybrid_attention_layers: [1, 3], hybrid_layerwise_cycle: ['gla'] };
    expect(branchesByLayer(presetConfig('tiny', { ...only, hybrid_gla_layers: [2, 3] }))).toEqual([
      [],
      [],
      [],
      ['gla'],
    ]);
    expect(branchesByLayer(presetConfig('tiny', { ...only, hybrid_gla_layers: [0] })).flat()).toEqual([]);
  });

  it('places the branches of the released model', () => {
    const branches = branchesByLayer(presetConfig('quasar-preview'));
    const layersOf = (wanted: string) =>
      branches.flatMap((branch: readonly string[], layer) => (branch[0] === wanted ? [layer] : []));
    expect(layersOf('quasar')).toEqual([4, 6, 7, 9, 11, 12, 14, 16, 17, 19]);
    expect(layersOf('raven')).toEqual([5, 10, 15]);
    expect(layersOf('gla')).toEqual([8, 13, 18]);
  });

  const refused: [string, unknown][] = [
    ['rope_scaling', { type: 'yarn' }],
    ['hybrid_raven_decay_type', 'GLA'],
    ['hybrid_raven_add_gumbel_noise', true],
    ['attention_dropout', 0.1],
    ['hidden_act', 'gelu'],
    ['branch_mimic_loss', true],
  ];
  it.each(refused)('refuses %s by name', (field, value) => {
    const fields = { ...toConfigJson(presetConfig('tiny')), [field]: value };
    expect(faultOf(fields)).toEqual({ code: 'UNSUPPORTED_VARIANT', field });
  });

  const faults: [string, unknown][] = [
    ['hidden_size', 0],
    ['hidden_size', 1e12],
    ['num_key_value_heads', 3],
    ['n_group', 3],
    ['num_experts_per_tok', 5],
    ['partial_rotary_factor', 0.2],
    ['hybrid_attention_layers', [9]],
    ['hybrid_layerwise_cycle', ['mamba']],
    ['hybrid_raven_topk', 17],
    ['pad_token_id', 512],
    ['hybrid_gla_group_norm_size', 5],
    ['hidden_sise', 32],
    ['engram_layers', [4]],
    ['engram_ngram_orders', [2, 2]],
    ['hybrid_gla_layers', [4]],
    ['rope_parameters', { rope_type: 'yarn', factor: 4 }],
    ['rope_parameters', { rope_type: 'default', rope_theta: 500 }],
    ['quantization_config', { bits: 4 }],
    ['eos_token_id', 512],
    ['hybrid_branch_layout', 'woven'],
    ['hybrid_quasar_mode', 'parallel'],
    ['num_loops', 0],
  ];
  it.each(faults)('names the faulty field %s', (field, value) => {
    expect(faultOf({ ...toConfigJson(presetConfig('tiny')), [field]: value })).toEqual({ code: 'BAD_CONFIG', field });
  });
});

describe('parameter contract', () => {
  const kindOf = (overrides: Record<string, unknown>, name: string) =>
    buildContract(presetConfig('tiny', overrides)).find((spec) => spec.name === `model.layers.${name}`)?.kind;

  it('trains what the variant reads, and nothing else', () => {
    const mix = '1.attention.branch_mix_logits';
    expect(kindOf({}, mix)).toBe('constant');
    expect(kindOf({ hybrid_branch_layout: 'mixed' }, mix)).toBe('param');
    const f = '1.attention.quasar_attention.f_proj.weight';
    expect(kindOf({}, f)).toBe('constant');
    expect(kindOf({ hybrid_quasar_mode: 'fused_recurrent' }, f)).toBe('param');
    for (const part of ['branch_local_window_mix_logit', 'branch_output_gain']) {
      expect(kindOf({}, `1.attention.${part}`), part).toBe('constant');
      expect(kindOf({ hybrid_local_window_size: 4 }, `1.attention.${part}`), part).toBe('param');
    }
    const dense = '1.attention.dense.weight';
    expect(kindOf({ hybrid_replacement_mode: 'full' }, dense)).toBe('constant');
    expect(kindOf({ hybrid_replacement_mode: 'full', hybrid_local_window_size: 4 }, dense)).toBe('param');
    expect(kindOf({ hybrid_replacement_mode: 'full' }, '1.attention.replace_alpha_raw')).toBe('constant');
    expect(kindOf({ num_nextn_predict_layers: 1 }, '4.eh_proj.weight')).toBe('constant');
    expect(kindOf({ num_nextn_predict_layers: 1, mtp_loss_scaling_factor: 1 }, '4.eh_proj.weight')).toBe('param');
  });

  it('has the tables of engram at their defaults', () => {
    const { vocab_size, ...wide } = { vocab_size: 1000, hidden_size: 2048, num_attention_heads: 16 };
    const config = parseConfig({ ...wide, vocab_size, pad_token_id: 0, eos_token_id: 1, engram_layers: [2] });
    const tensors = buildContract(config).filter(({ name }) => name.includes('.engram.'));
    const shapeOf = (part: string) => tensors.find(({ name }) => name.endsWith(`.${part}`))?.shape;
    expect(shapeOf('embed_tables')).toEqual([16, 125003, 32]);
    const counted = tensors
      .filter(({ isBuffer }) => !isBuffer)
      .reduce((sum, { shape }) => sum + elementCount(shape), 0);
    expect(counted / 1e6).toBeCloseTo(66.9, 0);
    expect(tensors.filter(({ dtype }) => dtype === 'I64').map(({ shape }) => shape)).toEqual([[1000], [16], [2]]);
  });

  it('counts the released model exactly', () => {
    const count = countParameters(presetConfig('quasar-preview'));
    expect(count).toEqual({ total: 16_553_949_296, active: 1_731_278_960, tensorCount: 562, bufferNumbers: 4944 });
  });

  it('keeps the presets in their ranges', () => {
    expect(countParameters(presetConfig('tiny')).total).toBeLessThan(200_000);
    const nano = countParameters(presetConfig('nano')).total;
    expect(nano > 3e6 && nano < 8e6, `nano has ${nano}`).toBe(true);
    const small = countParameters(presetConfig('small')).total;
    expect(small > 5e7 && small <= 1e8, `small has ${small}`).toBe(true);
  });
});

describe('initial values', () => {
  const config = presetConfig('tiny');

  it('fill the contract, finite, and do not depend on order', () => {
    const params = initParams(config, 7);
    const contract = buildContract(config);
    for (const spec of [...contract].reverse()) {
      const values = params.get(spec.name)!;
      expect(values.length, spec.name).toBe(elementCount(spec.shape));
      expect(values.every(Number.isFinite), spec.name).toBe(true);
      expect(initTensor(config, spec, 7), spec.name).toEqual(values);
    }
    const other = initTensor(config, contract.find((spec) => spec.name === 'lm_head.weight')!, 8);
    expect(other).not.toEqual(params.get('lm_head.weight'));
  });

  it('leave no routed expert dead and the padding row empty', () => {
    const params = initParams(config, 7);
    const experts = floatsOf(params, 'model.layers.1.mlp.experts_w12');
    const deviation = Math.sqrt(experts.reduce((sum, value) => sum + value * value, 0) / experts.length);
    expect(deviation).toBeGreaterThan(0.018);
    expect(deviation).toBeLessThan(0.022);
    expect(
      params
        .get('model.word_embeddings.weight')!
        .subarray(0, config.hidden_size)
        .every((value) => value === 0),
    ).toBe(true);
  });

  it('give the decays of a head count that is no power of two', () => {
    const odd = presetConfig('tiny', {
      num_attention_heads: 3,
      num_key_value_heads: 1,
      hidden_size: 48,
      hybrid_gla_group_norm_size: 3,
    });
    expect(glaLogDecays(odd, 0).map((g) => -g / (1 + 1e-5))).toEqual(
      [1 / 16, 1 / 256, 1 / 4].map((s) => expect.closeTo(s, 9)),
    );
  });
});
