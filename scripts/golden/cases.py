"""What the further cases exercise. Small: a case takes a second or two and some hundred kilobytes."""

import torch

BASE = dict(
    vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1,
    head_dim=12, num_experts=8, num_experts_per_tok=2, n_group=2, topk_group=1, moe_intermediate_size=10,
    routed_scaling_factor=2.5, rope_theta=10000.0, partial_rotary_factor=0.5, use_nope=True, pad_token_id=0, eos_token_id=0,
    hybrid_attention_layers=[1, 2], hybrid_branch_layout="layerwise", hybrid_raven_enabled=True,
    hybrid_raven_slots=8, hybrid_raven_topk=4, hybrid_output_adapter_rank=3, hybrid_replacement_mode="add",
)
ENGRAM = dict(engram_layers=[0, 2], engram_dim=40, engram_slots=120, engram_num_heads=2, engram_residual_scale=0.5)
LOOPS = dict(num_loops=2, use_looped_injection=True)
PARCAE = dict(num_loops=3, use_parcae_loop_stabilizer=True)
MTP = dict(num_nextn_predict_layers=1, mtp_loss_scaling_factor=0.3)
ALL = ["quasar", "raven", "gla"]


def case(note, config=None, time=19, **rest):
    return dict(note=note, config=dict(BASE, **(config or {})), time=time, **rest)


PACKED = [[7, 1, 1, 8], [12, 3]]

CASES = {
    "loops_injection": case("Two loops with looped injection.", LOOPS),
    "loops_parcae": case("Three loops with the parcae stabiliser and injection.", dict(PARCAE, use_looped_injection=True)),
    "engram": case("Engram in two layers.", ENGRAM),
    "mtp": case("One MTP layer and its loss.", MTP),
    "mtp_two": case("Two MTP layers.", dict(num_nextn_predict_layers=2, mtp_loss_scaling_factor=0.7)),
    "mixed_layout": case("All branches in each hybrid layer.", dict(hybrid_branch_layout="mixed")),
    "mixed_gla_layers": case("Mixed layout, gla in one layer only.", dict(hybrid_branch_layout="mixed", hybrid_gla_layers=[2])),
    "mixed_default": case("Mixed layout with the branches that are on by default.", dict(hybrid_branch_layout="mixed", hybrid_raven_enabled=False)),
    "replace_full": case("Mode full: hybrid layers drop softmax attention.", dict(hybrid_replacement_mode="full")),
    "replace_linear": case("Mode linear, mixed layout.", dict(hybrid_replacement_mode="linear", hybrid_branch_layout="mixed")),
    "fused_recurrent": case("The decaying mode of the quasar branch.", dict(hybrid_quasar_mode="fused_recurrent", hybrid_layerwise_cycle=["quasar"]), time=37),
    "short_conv": case("Short convolution, packed.", dict(hybrid_use_short_conv=True, hybrid_layerwise_cycle=["quasar"]), documents=PACKED),
    "quasar_rope": case("Rotation in the quasar branch, in both modes of position.", dict(hybrid_quasar_use_rope=True, nope_after_position=9)),
    "biases_no_qk_norm": case("Biases, no query-key norm.", dict(use_qkv_bias=True, use_bias=True, use_qk_norm=False, hybrid_layerwise_cycle=["gla", "raven"])),
    "shared_and_head_dim": case("Two shared experts, heads wider than hidden/heads.", dict(num_shared_experts=2, head_dim=20, hybrid_layerwise_cycle=ALL)),
    "no_shared": case("No shared expert, no adapter.", dict(num_shared_experts=0, hybrid_output_adapter_rank=0)),
    "tied": case("Tied embeddings.", dict(tie_word_embeddings=True)),
    "nope_everywhere": case("Nothing is rotated.", dict(long_context_mode="nope")),
    "rope_everywhere": case("Every position is rotated, whole heads.", dict(use_nope=False, partial_rotary_factor=1.0)),
    "nope_border": case("Rotation ends at position 11.", dict(nope_after_position=11, hybrid_layerwise_cycle=["gla"])),
    "local_window": case("Local window of 5 keys beside each branch.", dict(hybrid_local_window_size=5), special={"branch_local_window_mix_logit": lambda _: [-1.5]}),
    "k1_groups": case("One expert a token, groups of one expert.", dict(num_experts_per_tok=1, n_group=8, topk_group=3)),
    "uneven_experts": case("Seven experts in one group, five a token.", dict(num_experts=7, n_group=1, topk_group=1, num_experts_per_tok=5)),
    "odd_sizes": case("Three heads, 37 tokens, one dense layer only, all branches.", dict(num_attention_heads=3, hidden_size=33, head_dim=10, num_hidden_layers=4, hybrid_attention_layers=[1, 2, 3], partial_rotary_factor=0.6), time=37, batch=1),
    "short_documents": case("Packed documents of one token.", dict(hybrid_layerwise_cycle=["raven", "quasar"]), documents=[[1, 1, 1, 9, 1, 6], [1, 2, 1, 3, 1, 11]]),
    "one_expert": case("All tokens go to the same experts.", {}, special={"gate.expert_bias": lambda shape: [5.0, 4.0] + [0.0] * (shape[0] - 2)}),
    "adapter_alpha": case("Adapter scale other than one, group norm over all heads.", dict(hybrid_output_adapter_alpha=7.5, hybrid_gla_group_norm_size=1, hybrid_layerwise_cycle=["gla"])),
    "one_head": case("One head, all branches.", dict(num_attention_heads=1, num_key_value_heads=1, hidden_size=12, hybrid_branch_layout="mixed")),
    "one_loop_injection": case("The loop terms without further loops, rotary fields as transformers 5 writes them.", dict(use_looped_injection=True, use_parcae_loop_stabilizer=True, rope_parameters=dict(rope_type="default", rope_theta=10000.0))),
    "bypass_full": case("hybrid_alpha_zero_bypass in mode full: a layer whose gate is shut keeps its softmax attention.", dict(hybrid_replacement_mode="full", hybrid_alpha_zero_bypass=True), special={"layers.1.attention.replace_alpha_raw": lambda _: [-14.0]}),
    "unread_fields": case("Fields that the architecture does not read, with values that would matter.", dict(norm_topk_prob=False, score_function="softmax", moe_router_enable_expert_bias=False, embedding_dropout=0.1, output_dropout=0.1, hybrid_gla_expand_k=0.5, hybrid_local_window_fraction=0.3)),
    "ling_layout": case("One tensor per expert, [out, in], gradients likewise; bfloat16.", experts="apart", dtype=torch.bfloat16),
    "sharded": case("Three shards and an index.", dict(num_hidden_layers=2, hybrid_attention_layers=[1], hybrid_gla_layers=[0]), shards=3),
    "everything": case("Loops, parcae, Engram, MTP, mixed layout, short convolution, biases, packed.", dict(LOOPS, **ENGRAM, **MTP, use_parcae_loop_stabilizer=True, hybrid_branch_layout="mixed", hybrid_use_short_conv=True, use_qkv_bias=True, use_bias=True, tie_word_embeddings=True), documents=PACKED),
}
