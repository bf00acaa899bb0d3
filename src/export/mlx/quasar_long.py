# SPDX-License-Identifier: Apache-2.0
"""quasar_long for mlx-lm, loaded as `model_file` from beside the weights.

Grouped-query softmax attention with half-rotated heads (no rotation from `nope_after_position` on) to which hybrid layers
add one linear branch (a gated-write delta rule, slot attention, or attention with fixed decay), and experts chosen by a
sigmoid router within groups. One branch a layer, additive, the quasar branch without decay of its state: what else the
architecture has is refused when the checkpoint is exported. Recurrences run token by token in float32: exact, not fast.
"""

import math
from dataclasses import dataclass, field
from typing import Any, List, Optional

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import BaseModelArgs
from mlx_lm.models.switch_layers import SwitchGLU


@dataclass
class ModelArgs(BaseModelArgs):
    model_type: str = "quasar_long"
    vocab_size: int = 157184
    hidden_size: int = 2048
    intermediate_size: int = 5120
    num_hidden_layers: int = 20
    num_attention_heads: int = 16
    num_key_value_heads: int = 4
    head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 600000.0
    partial_rotary_factor: float = 1.0
    use_nope: bool = False
    long_context_mode: str = "rope_short_nope_long"
    nope_after_position: int = 512
    tie_word_embeddings: bool = False
    num_experts: int = 256
    num_experts_per_tok: int = 8
    num_shared_experts: int = 1
    n_group: int = 8
    topk_group: int = 4
    moe_intermediate_size: int = 512
    first_k_dense_replace: int = 1
    routed_scaling_factor: float = 1.0
    hybrid_attention_layers: List[int] = field(default_factory=list)
    hybrid_layerwise_cycle: List[str] = field(default_factory=lambda: ["quasar", "raven", "gla"])
    hybrid_quasar_enabled: bool = True
    hybrid_raven_enabled: bool = False
    hybrid_gla_enabled: bool = True
    hybrid_gla_group_norm_size: Optional[int] = None
    hybrid_raven_slots: int = 64
    hybrid_raven_topk: int = 32
    hybrid_output_adapter_rank: int = 16
    hybrid_output_adapter_alpha: Optional[float] = None


def rms(x, weight=None, eps=1e-6):
    wide = x.astype(mx.float32)
    out = wide * mx.rsqrt(mx.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return out if weight is None else out * weight.astype(mx.float32)


def softplus(x):
    return mx.logaddexp(x, mx.zeros_like(x))


def silu(x):
    return x * mx.sigmoid(x)


def unit(x):
    return x / mx.maximum(mx.sqrt(mx.sum(x * x, axis=-1, keepdims=True)), 1e-12)


class Weight(nn.Module):
    """A norm's weight; the norm itself is written out, for its place of rounding."""

    def __init__(self, width):
        super().__init__()
        self.weight = mx.ones((width,))


class LayerCache:
    """Keys and values of softmax attention, and the states of a layer's branch."""

    def __init__(self):
        self.keys = None
        self.values = None
        self.branch = None
        self.offset = 0

    @property
    def state(self):
        parts = [self.keys, self.values, *(self.branch or ())]
        return [part for part in parts if part is not None]

    @state.setter
    def state(self, parts):
        self.keys, self.values, *branch = parts
        self.branch = tuple(branch) or None
        self.offset = self.keys.shape[2]

    def is_trimmable(self):
        return False

    def append(self, keys, values):
        if self.keys is not None:
            keys = mx.concatenate([self.keys, keys], axis=2)
            values = mx.concatenate([self.values, values], axis=2)
        self.keys, self.values, self.offset = keys, values, keys.shape[2]
        return keys, values


def rotation(args, offset, length):
    """cos and sin of each position, (length, width / 2); without rotation 1 and 0."""
    width = int(args.head_dim * args.partial_rotary_factor)
    positions = mx.arange(offset, offset + length, dtype=mx.float32)
    steps = mx.power(args.rope_theta, -mx.arange(0, width, 2, dtype=mx.float32) / width)
    angles = positions[:, None] * steps[None, :]
    cos, sin = mx.cos(angles), mx.sin(angles)
    if args.use_nope:
        last = args.nope_after_position if args.long_context_mode == "rope_short_nope_long" else 0
        is_rotated = (positions < last)[:, None]
        cos, sin = mx.where(is_rotated, cos, 1.0), mx.where(is_rotated, sin, 0.0)
    return cos, sin


def rotate(x, cos, sin):
    """Pairs (j, j + width / 2) of the first channels of (batch, heads, time, head_dim)."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return mx.concatenate([a * cos - b * sin, b * cos + a * sin, rest], axis=-1)


class GroupedQuery(nn.Module):
    """What softmax attention and the branch with fixed decay share: fused projection, norms of heads, rotation."""

    def __init__(self, args):
        super().__init__()
        H, KV, D, h = args.num_attention_heads, args.num_key_value_heads, args.head_dim, args.hidden_size
        self.args = args
        self.query_key_value = nn.Linear(h, (H + 2 * KV) * D, bias=False)
        self.query_layernorm = Weight(D)
        self.key_layernorm = Weight(D)
        self.dense = nn.Linear(H * D, h, bias=False)

    def heads(self, x, cos, sin):
        args = self.args
        B, T, _ = x.shape
        H, KV, D = args.num_attention_heads, args.num_key_value_heads, args.head_dim
        y = self.query_key_value(x).reshape(B, T, H + 2 * KV, D).transpose(0, 2, 1, 3)
        q, k, v = y[:, :H], y[:, H : H + KV], y[:, H + KV :]
        q = rotate(rms(q, self.query_layernorm.weight, args.rms_norm_eps), cos, sin)
        k = rotate(rms(k, self.key_layernorm.weight, args.rms_norm_eps), cos, sin)
        return q, k, v.astype(mx.float32)


class Gla(GroupedQuery):
    """S ← e^g S + k vᵀ; o = Sᵀ q / √D, g fixed for each head (`slope`)."""

    def __init__(self, args):
        super().__init__(args)
        width = args.num_attention_heads * args.head_dim
        self.g_proj = nn.Linear(args.hidden_size, width, bias=False)
        self.g_norm = Weight(width)
        self.slope = mx.zeros((args.num_attention_heads,))

    def __call__(self, x, state, cos, sin):
        args = self.args
        B, T, _ = x.shape
        H, D = args.num_attention_heads, args.head_dim
        q, k, v = self.heads(x, cos, sin)
        repeats = H // args.num_key_value_heads
        k, v = mx.repeat(k, repeats, axis=1), mx.repeat(v, repeats, axis=1)
        S = mx.zeros((B, H, D, D)) if state is None else state[0]
        decay = mx.exp(self.slope.astype(mx.float32))[None, :, None, None]
        outputs = []
        for t in range(T):
            S = decay * S + k[:, :, t, :, None] * v[:, :, t, None, :]
            outputs.append(mx.sum(S * q[:, :, t, :, None], axis=2) / math.sqrt(D))
        o = mx.stack(outputs, axis=1).reshape(B, T, H * D)
        groups = args.hybrid_gla_group_norm_size or H
        o = rms(o.reshape(B, T, groups, -1), eps=args.rms_norm_eps).reshape(B, T, H * D)
        gate = mx.sigmoid(self.g_proj(x).astype(mx.float32))
        return self.dense((o * self.g_norm.weight * gate).astype(x.dtype)), (S,)


class Quasar(nn.Module):
    """A delta rule with a learned strength of writing: e = v − Sᵀk, S ← S + α k eᵀ, o = Sᵀ q / √D."""

    def __init__(self, args):
        super().__init__()
        H, D, h = args.num_attention_heads, args.head_dim, args.hidden_size
        self.args = args
        for name in ("q_proj", "k_proj", "v_proj", "f_proj"):
            setattr(self, name, nn.Linear(h, H * D, bias=False))
        self.b_proj = nn.Linear(h, H, bias=False)
        self.A_log = mx.zeros((H,))
        self.dt_bias = mx.zeros((H * D,))
        self.g_proj = [nn.Linear(h, D, bias=False), nn.Linear(D, H * D, bias=True)]
        self.o_norm = Weight(D)
        self.o_proj = nn.Linear(H * D, h, bias=False)

    def __call__(self, x, state, cos, sin):
        args = self.args
        B, T, _ = x.shape
        H, D = args.num_attention_heads, args.head_dim
        # The normalised input feeds every projection, the gate's too.
        u = rms(mx.clip(x.astype(mx.float32), -60, 60), eps=1e-6).astype(x.dtype)
        heads = lambda y: y.astype(mx.float32).reshape(B, T, H, D).transpose(0, 2, 1, 3)
        q = unit(heads(silu(self.q_proj(u))))
        k = unit(heads(silu(self.k_proj(u))))
        v = heads(silu(self.v_proj(u)))
        beta = mx.sigmoid(self.b_proj(u).astype(mx.float32)).transpose(0, 2, 1)
        size = mx.clip(mx.sum(k * k, axis=-1), 0.1, 10)
        bias = self.dt_bias.astype(mx.float32).reshape(1, H, 1, D)
        gamma = mx.exp(self.A_log.astype(mx.float32))[None, :, None, None] * softplus(beta[..., None] + bias)
        alpha = mx.clip(mx.mean((1 - mx.exp(-gamma)) / (size[..., None] + 1e-6), axis=-1), 1e-4, 0.95)
        S = mx.zeros((B, H, D, D)) if state is None else state[0]
        outputs = []
        for t in range(T):
            key = k[:, :, t, :, None]
            error = v[:, :, t] - mx.sum(S * key, axis=2)
            S = S + alpha[:, :, t, None, None] * key * error[:, :, None, :]
            outputs.append(mx.sum(S * q[:, :, t, :, None], axis=2) / math.sqrt(D))
        o = mx.clip(mx.stack(outputs, axis=1), -1e4, 1e4)
        gate = self.g_proj[1](self.g_proj[0](u)).astype(mx.float32).reshape(B, T, H, D)
        o = rms(o, mx.clip(self.o_norm.weight, 0, 4), args.rms_norm_eps) * mx.sigmoid(mx.clip(gate, -30, 30))
        return self.o_proj(o.reshape(B, T, H * D).astype(x.dtype)), (S,)


class Raven(nn.Module):
    """Slots of keys and values, of which each token changes the few that its router likes best."""

    def __init__(self, args):
        super().__init__()
        H, h, M = args.num_attention_heads, args.hidden_size, args.hybrid_raven_slots
        d = h // H
        self.args = args
        self.q_proj = nn.Linear(h, h, bias=False)
        self.k_proj = nn.Linear(h, args.num_key_value_heads * d, bias=False)
        self.v_proj = nn.Linear(h, args.num_key_value_heads * d, bias=False)
        self.r_proj = nn.Linear(h, H * M, bias=False)
        self.a_proj = nn.Linear(h, H, bias=False)
        self.A_log = mx.zeros((H,))
        self.dt_bias = mx.zeros((H,))
        self.q_norm = Weight(d)
        self.k_norm = Weight(d)
        self.g_norm = Weight(h)
        self.o_proj = nn.Linear(h, h, bias=False)

    def __call__(self, x, state, cos, sin):
        args = self.args
        B, T, h = x.shape
        H, KV, M = args.num_attention_heads, args.num_key_value_heads, args.hybrid_raven_slots
        d = h // H
        heads = lambda y, n: y.astype(mx.float32).reshape(B, T, n, d).transpose(0, 2, 1, 3)
        q = rms(heads(silu(self.q_proj(x)), H), self.q_norm.weight, args.rms_norm_eps)
        k = rms(heads(silu(self.k_proj(x)), KV), self.k_norm.weight, args.rms_norm_eps)
        v = heads(silu(self.v_proj(x)), KV)
        k, v = mx.repeat(k, H // KV, axis=1), mx.repeat(v, H // KV, axis=1)
        step = softplus(self.a_proj(x).astype(mx.float32) + self.dt_bias.astype(mx.float32))
        rate = (-mx.exp(self.A_log.astype(mx.float32)) * step).transpose(0, 2, 1)
        p = mx.sigmoid(self.r_proj(x).astype(mx.float32)).reshape(B, T, H, M).transpose(0, 2, 1, 3)
        # Ranks by two sorts: equal scores keep their order.
        rank = mx.argsort(mx.argsort(-p, axis=-1), axis=-1)
        kept = mx.where(rank < args.hybrid_raven_topk, p, 0.0)
        decay = mx.exp(rate[..., None] * kept / (mx.sum(kept, axis=-1, keepdims=True) + 1e-9))
        write = 1 - decay
        K = mx.zeros((B, H, d, M)) if state is None else state[0]
        V = mx.zeros((B, H, M, d)) if state is None else state[1]
        outputs = []
        for t in range(T):
            keep, put = decay[:, :, t], write[:, :, t]
            K = K * keep[:, :, None, :] + k[:, :, t, :, None] * put[:, :, None, :]
            a = mx.softmax(mx.sum(K * q[:, :, t, :, None], axis=2), axis=-1)
            V = V * keep[..., None] + put[..., None] * v[:, :, t, None, :]
            outputs.append(mx.sum(V * a[..., None], axis=2))
        o = silu(mx.stack(outputs, axis=1).reshape(B, T, h))
        return self.o_proj(rms(o, self.g_norm.weight, 1e-5).astype(x.dtype)), (K, V)


def branch_of(args, layer):
    """The name of a layer's branch, or None."""
    enabled = {
        "quasar": args.hybrid_quasar_enabled,
        "raven": args.hybrid_raven_enabled,
        "gla": args.hybrid_gla_enabled,
    }
    cycle = [name for name in args.hybrid_layerwise_cycle if enabled[name]]
    layers = sorted(args.hybrid_attention_layers)
    return cycle[layers.index(layer) % len(cycle)] if layer in layers and cycle else None


class Attention(GroupedQuery):
    def __init__(self, args, layer):
        super().__init__(args)
        self.branch = branch_of(args, layer)
        if layer not in args.hybrid_attention_layers:
            return
        h, rank = args.hidden_size, args.hybrid_output_adapter_rank
        self.replace_alpha_raw = mx.zeros((1,))
        self.branch_mix_logits = mx.zeros((3,))
        self.branch_output_gain = mx.ones((1,))
        self.branch_global_output_gain = mx.ones((1,))
        self.branch_output_channel_gain = mx.ones((h,))
        self.branch_local_window_mix_logit = mx.zeros((1,))
        if rank > 0:
            self.branch_output_adapter_down = nn.Linear(h, rank, bias=False)
            self.branch_output_adapter_up = nn.Linear(rank, h, bias=False)
        if self.branch is not None:
            setattr(self, f"{self.branch}_attention", {"quasar": Quasar, "raven": Raven, "gla": Gla}[self.branch](args))

    def __call__(self, x, cache):
        args = self.args
        B, T, _ = x.shape
        cos, sin = rotation(args, cache.offset, T)
        past = cache.offset
        q, k, v = self.heads(x, cos, sin)
        k, v = cache.append(k, v)
        repeats = args.num_attention_heads // args.num_key_value_heads
        k, v = mx.repeat(k, repeats, axis=1), mx.repeat(v, repeats, axis=1)
        scores = (q @ k.transpose(0, 1, 3, 2)) / math.sqrt(args.head_dim)
        is_seen = mx.arange(k.shape[2])[None, :] <= mx.arange(past, past + T)[:, None]
        weights = mx.softmax(mx.where(is_seen, scores, -1e30), axis=-1)
        out = (weights @ v).transpose(0, 2, 1, 3).reshape(B, T, -1)
        out = self.dense(out.astype(x.dtype))
        if self.branch is None:
            return out
        z, cache.branch = getattr(self, f"{self.branch}_attention")(x, cache.branch, cos, sin)
        gain = self.branch_output_gain
        z = z * (self.branch_global_output_gain / mx.maximum(gain, 1e-6)) * gain * self.branch_output_channel_gain
        rank = args.hybrid_output_adapter_rank
        if rank > 0:
            scale = (args.hybrid_output_adapter_alpha or rank) / rank
            z = z + scale * self.branch_output_adapter_up(self.branch_output_adapter_down(z))
        return out + (mx.sigmoid(self.replace_alpha_raw) * z).astype(out.dtype)


class Mlp(nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def __call__(self, x):
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.gate_proj = nn.Linear(args.hidden_size, args.num_experts, bias=False)
        self.expert_bias = mx.zeros((args.num_experts,))

    def __call__(self, x):
        """The chosen experts of each token and their weights; the bias chooses and does not weigh."""
        args = self.args
        E, K, groups = args.num_experts, args.num_experts_per_tok, args.n_group
        scores = mx.sigmoid(self.gate_proj(x).astype(mx.float32))
        biased = scores + self.expert_bias.astype(mx.float32)
        if groups > 1 and args.topk_group < groups:
            grouped = biased.reshape(*biased.shape[:-1], groups, E // groups)
            best = mx.sum(mx.sort(grouped, axis=-1)[..., -2:], axis=-1)
            rank = mx.argsort(mx.argsort(-best, axis=-1), axis=-1)
            grouped = mx.where((rank < args.topk_group)[..., None], grouped, -1e30)
            biased = grouped.reshape(biased.shape)
        chosen = mx.argsort(-biased, axis=-1)[..., :K]
        weights = mx.take_along_axis(scores, chosen, axis=-1)
        if K > 1:
            weights = weights / (mx.sum(weights, axis=-1, keepdims=True) + 1e-20)
        return chosen, weights * args.routed_scaling_factor


class Moe(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.gate = Gate(args)
        self.switch_mlp = SwitchGLU(args.hidden_size, args.moe_intermediate_size, args.num_experts)
        if args.num_shared_experts > 0:
            self.shared_experts = Mlp(args.hidden_size, args.moe_intermediate_size * args.num_shared_experts)

    def __call__(self, x):
        chosen, weights = self.gate(x)
        y = mx.sum(self.switch_mlp(x, chosen) * weights[..., None], axis=-2).astype(x.dtype)
        return y + self.shared_experts(x) if "shared_experts" in self else y


class Layer(nn.Module):
    def __init__(self, args, layer):
        super().__init__()
        self.eps = args.rms_norm_eps
        self.attention = Attention(args, layer)
        is_dense = layer < args.first_k_dense_replace
        self.mlp = Mlp(args.hidden_size, args.intermediate_size) if is_dense else Moe(args)
        self.input_layernorm = Weight(args.hidden_size)
        self.post_attention_layernorm = Weight(args.hidden_size)

    def __call__(self, x, cache):
        x = x + self.attention(rms(x, self.input_layernorm.weight, self.eps).astype(x.dtype), cache)
        return x + self.mlp(rms(x, self.post_attention_layernorm.weight, self.eps).astype(x.dtype))


class Backbone(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.eps = args.rms_norm_eps
        self.word_embeddings = nn.Embedding(args.vocab_size, args.hidden_size)
        self.layers = [Layer(args, i) for i in range(args.num_hidden_layers)]
        self.norm = Weight(args.hidden_size)

    def __call__(self, inputs, cache):
        x = self.word_embeddings(inputs)
        for layer, state in zip(self.layers, cache):
            x = layer(x, state)
        return rms(x, self.norm.weight, self.eps).astype(x.dtype)


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.model_type = args.model_type
        self.model = Backbone(args)
        if not args.tie_word_embeddings:
            self.lm_head = nn.Linear(args.hidden_size, args.vocab_size, bias=False)

    def __call__(self, inputs, cache: Optional[Any] = None):
        x = self.model(inputs, cache if cache is not None else self.make_cache())
        return self.model.word_embeddings.as_linear(x) if self.args.tie_word_embeddings else self.lm_head(x)

    def make_cache(self):
        return [LayerCache() for _ in self.layers]

    @property
    def layers(self):
        return self.model.layers
