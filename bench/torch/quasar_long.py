"""quasar_long in PyTorch, for speed on a CPU: the opponent of `npm run bench -- train`.

Written from the model's specification, with what makes PyTorch fast there: recurrent branches in chunks as batched
products, experts on rows sorted by expert without scatter, norms with a written backward, grouped-query attention as
one product for each key-value head, scores and mask in one call. float32; packed rows; no dropout.
"""

import math

import torch
import torch.nn.functional as F

CHUNK = 32
LOG_RANGE = 140.0  # limits raven's log-decay to -140/CHUNK: both factors of a chunk stay finite


class RmsNorm(torch.autograd.Function):
    """x / sqrt(mean(x²) + eps) · weight over the last axis; weight may be None."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        width = x.shape[-1]
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        rstd = norm.square_().div_(width).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, rstd)
        y = x * rstd
        return y if weight is None else y.mul_(weight)

    @staticmethod
    def backward(ctx, dy):
        x, weight, rstd = ctx.saved_tensors
        width = x.shape[-1]
        g = dy if weight is None else dy * weight
        dot = (g * x).sum(-1, keepdim=True).mul_(rstd).mul_(rstd).div_(-width)
        dx = torch.addcmul(g, x, dot).mul_(rstd)
        if weight is None:
            return dx, None, None
        dw = torch.mv((dy * x).reshape(-1, width).t(), rstd.reshape(-1))
        return dx, dw, None


class GatherRows(torch.autograd.Function):
    """x[ids]; `inverse` (rows of x, readers) names the output rows that read each row, so that backward gathers too."""

    @staticmethod
    def forward(ctx, x, ids, inverse):
        ctx.save_for_backward(inverse)
        return x.index_select(0, ids)

    @staticmethod
    def backward(ctx, dy):
        (inverse,) = ctx.saved_tensors
        rows, readers = inverse.shape
        picked = dy.index_select(0, inverse.reshape(-1))
        return (picked if readers == 1 else picked.view(rows, readers, -1).sum(1)), None, None


class GroupedMatmul(torch.autograd.Function):
    """Consecutive groups of rows, group e by matrix W[e]; `sizes` is a list. Writes in place, gradients too."""

    @staticmethod
    def forward(ctx, x, W, sizes):
        ctx.save_for_backward(x, W)
        ctx.sizes = sizes
        y = x.new_empty(x.shape[0], W.shape[2])
        start = 0
        for e, size in enumerate(sizes):
            if size > 0:
                torch.mm(x[start : start + size], W[e], out=y[start : start + size])
            start += size
        return y

    @staticmethod
    def backward(ctx, dy):
        x, W = ctx.saved_tensors
        dx, dW = torch.empty_like(x), torch.empty_like(W)
        start = 0
        for e, size in enumerate(ctx.sizes):
            if size > 0:
                rows = slice(start, start + size)
                torch.mm(dy[rows], W[e].t(), out=dx[rows])
                torch.mm(x[rows].t(), dy[rows], out=dW[e])
            else:
                dW[e].zero_()
            start += size
        return dx, dW, None


class UnitLowerInverse(torch.autograd.Function):
    """(I + strictlower(L))⁻¹ by block doubling, with the closed form as gradient."""

    @staticmethod
    def forward(ctx, L, eye, levels, strict):
        T = eye - L * levels[0]
        for mask in levels[1:]:
            T = T - T @ (L * mask) @ T
        ctx.save_for_backward(T, strict)
        return T

    @staticmethod
    def backward(ctx, dT):
        T, strict = ctx.saved_tensors
        Tt = T.transpose(-1, -2)
        return (Tt @ dT @ Tt).mul_(strict).neg_(), None, None, None


class QuasarLong:
    """The model as functions of a dict of tensors; `P[name]` are leaves where they are trained."""

    def __init__(self, config, params, batch, time, chunked_gla, attention_blocks):
        self.c, self.P, self.B, self.T = config, params, batch, time
        self.chunked_gla, self.attention_blocks = chunked_gla, attention_blocks
        C = CHUNK
        assert time % C == 0, f"sequence length {time} is not a multiple of {C}"
        assert time % attention_blocks == 0
        self.N = time // C
        self.lower = torch.tril(torch.ones(C, C))
        self.strict = torch.tril(torch.ones(C, C), -1)
        self.eye = torch.eye(C)
        i, j = torch.meshgrid(torch.arange(C), torch.arange(C), indexing="ij")
        self.levels = []
        s = 1
        while s < C:
            block = (i // (2 * s) == j // (2 * s)) & (i % (2 * s) >= s) & (j % (2 * s) < s)
            self.levels.append(block.float())
            s *= 2
        middle = C // 2
        self.relative = (j <= i).float() - (j < middle).float()
        self.halves = torch.stack([(torch.arange(C) < middle).float(), (torch.arange(C) >= middle).float()])
        self.loads = {}
        self.gla_decays = {}

    # ---- what a batch's positions determine ----

    def documents(self, positions):
        c, B, T, N, C = self.c, self.B, self.T, self.N, CHUNK
        H, KV, D = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        ids = (positions == 0).long().cumsum(1)
        same = ids[:, :, None] == ids[:, None, :]
        visible = same & torch.ones(T, T, dtype=torch.bool).tril()
        self.visible = visible
        bias = torch.zeros(B, T, T).masked_fill_(~visible, float("-inf"))
        G = H // KV
        n = self.attention_blocks
        size = T // n
        self.biases = []
        for b in range(n):
            end = (b + 1) * size
            part = bias[:, None, None, b * size : end, :end].expand(B, KV, G, size, end)
            self.biases.append(part.reshape(B * KV, G * size, end).contiguous())
        chunked = ids.view(B, N, C)
        last = chunked[:, :, -1:]
        previous = torch.cat([torch.full((B, 1, 1), -1), last[:, :-1]], 1)
        heads = lambda m: m[:, None].expand(B, H, *m.shape[1:]).reshape(B * H, *m.shape[1:]).contiguous()
        self.same = heads((chunked[..., :, None] == chunked[..., None, :]).float())
        self.same_lower = self.same * self.lower
        self.hidden_pairs = self.same_lower == 0
        self.sees = heads((chunked == previous).float()[..., None])
        self.reaches = heads((chunked == last).float()[..., None])
        self.keeps = heads((last == previous).float()[..., None])
        r = int(D * c["partial_rotary_factor"])
        turns = positions.float()
        if c["use_nope"]:
            turns = torch.where(positions < c["nope_after_position"], turns, torch.zeros(()))
        omega = c["rope_theta"] ** (-2.0 * torch.arange(r // 2) / r)
        angle = turns[:, :, None, None] * omega
        self.cos, self.sin, self.half = angle.cos(), angle.sin(), r // 2

    # ---- parts ----

    def linear(self, x, name):
        return F.linear(x, self.P[f"{name}.weight"])

    def chunks(self, x):
        """(B, T, H, w) → (B·H, N, C, w)."""
        return x.transpose(1, 2).reshape(self.B * x.shape[2], self.N, CHUNK, x.shape[3])

    def unchunk(self, x, heads):
        return x.view(self.B, heads, self.T, -1).transpose(1, 2)

    def repeat(self, x, heads):
        B, T, KV, w = x.shape
        return x if KV == heads else x[:, :, :, None].expand(B, T, KV, heads // KV, w).reshape(B, T, heads, w)

    def project_heads(self, x, prefix):
        c, P = self.c, self.P
        H, KV, D = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        fused = self.linear(x, f"{prefix}.query_key_value").view(self.B, self.T, H + 2 * KV, D)
        qk, v = fused.split([H + KV, KV], 2)
        weight = torch.cat(
            [
                P[f"{prefix}.query_layernorm.weight"].expand(H, D),
                P[f"{prefix}.key_layernorm.weight"].expand(KV, D),
            ]
        )
        qk = RmsNorm.apply(qk, None, c["rms_norm_eps"]) * weight
        a, b, rest = qk.split([self.half, self.half, D - 2 * self.half], 3)
        qk = torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin, rest], 3)
        q, k = qk.split([H, KV], 2)
        return q, k, v

    def attention(self, x, prefix):
        c, B, T = self.c, self.B, self.T
        H, KV, D = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        G = H // KV
        q, k, v = self.project_heads(x, prefix)
        q = q.view(B, T, KV, G, D).permute(0, 2, 3, 1, 4)
        k = k.transpose(1, 2).reshape(B * KV, T, D)
        v = v.transpose(1, 2).reshape(B * KV, T, D)
        n = self.attention_blocks
        size = T // n
        outs = []
        for b in range(n):
            end = (b + 1) * size
            block = q[:, :, :, b * size : end].reshape(B * KV, G * size, D)
            keys = k[:, :end].transpose(1, 2)
            shares = torch.baddbmm(self.biases[b], block, keys, alpha=1 / math.sqrt(D)).softmax(-1)
            outs.append(torch.bmm(shares, v[:, :end]).view(B, KV, G, size, D))
        o = outs[0] if n == 1 else torch.cat(outs, 3)
        o = o.permute(0, 3, 1, 2, 4).reshape(B * T, H * D)
        return self.linear(o, f"{prefix}.dense")

    def delta_scan(self, U, W, K):
        S = None
        states, residuals = [], []
        for n, (u, w, k) in enumerate(zip(U.unbind(1), W.unbind(1), K.unbind(1))):
            states.append(S)
            r = u if S is None else torch.baddbmm(u, w, S, alpha=-1)
            residuals.append(r)
            kt = k.transpose(1, 2)
            S = torch.bmm(kt, r) if S is None else torch.baddbmm(S * self.keeps[:, n], kt, r)
        states[0] = torch.zeros_like(S)
        return torch.stack(states, 1), torch.stack(residuals, 1)

    def quasar(self, x, prefix):
        c, P, B, T = self.c, self.P, self.B, self.T
        H, D = c["num_attention_heads"], c["head_dim"]
        u = RmsNorm.apply(x.clamp(-60, 60), None, 1e-6)
        heads = lambda part: F.silu(self.linear(u, f"{prefix}.{part}_proj")).view(B, T, H, D)
        unit = lambda y: RmsNorm.apply(y, None, 1e-24 / D) * (1 / math.sqrt(D))
        q, k, v = self.chunks(unit(heads("q"))), self.chunks(unit(heads("k"))), self.chunks(heads("v"))
        beta = torch.sigmoid(self.linear(u, f"{prefix}.b_proj")).view(B, T, H, 1)
        rate = P[f"{prefix}.A_log"].exp().view(H, 1)
        gamma = F.softplus(beta + P[f"{prefix}.dt_bias"].view(H, D)) * -rate
        alpha = ((1 - gamma.exp().mean(3, keepdim=True)) / (1 + 1e-6)).clamp(1e-4, 0.95)
        alpha = self.chunks(alpha)
        kt = k.transpose(-1, -2)
        L = torch.matmul(k, kt) * self.same * alpha
        solve = UnitLowerInverse.apply(L, self.eye, self.levels, self.strict) * alpha.transpose(-1, -2)
        U, W = torch.matmul(solve, v), torch.matmul(solve, k * self.sees)
        states, residuals = self.delta_scan(U, W, k * self.reaches)
        scaled = q * (1 / math.sqrt(D))
        within = torch.matmul(scaled, kt) * self.same_lower
        o = torch.matmul(scaled * self.sees, states) + torch.matmul(within, residuals)
        o = self.unchunk(o, H).clamp(-1e4, 1e4)
        y = RmsNorm.apply(o, P[f"{prefix}.o_norm.weight"].clamp(0, 4), c["rms_norm_eps"]).reshape(B * T, H * D)
        gate = F.linear(
            self.linear(u, f"{prefix}.g_proj.0"), P[f"{prefix}.g_proj.1.weight"], P[f"{prefix}.g_proj.1.bias"]
        )
        return self.linear(y * torch.sigmoid(gate.clamp(-30, 30)), f"{prefix}.o_proj")

    def gla(self, x, prefix, layer):
        c, B, T = self.c, self.B, self.T
        H, D, eps = c["num_attention_heads"], c["head_dim"], c["rms_norm_eps"]
        q, k, v = self.project_heads(x, prefix)
        k, v = self.repeat(k, H), self.repeat(v, H)
        slope = self.P[f"{prefix}.slope"].view(H, 1, 1)
        o = self.gla_chunked(q, k, v, slope, layer) if self.chunked_gla else self.gla_full(q, k, v, slope, layer)
        groups = c.get("hybrid_gla_group_norm_size") or H
        y = RmsNorm.apply(o.reshape(B * T, groups, -1), None, eps).view(B * T, H * D)
        y = y * self.P[f"{prefix}.g_norm.weight"] * torch.sigmoid(self.linear(x, f"{prefix}.g_proj"))
        return self.linear(y, f"{prefix}.dense")

    def gla_full(self, q, k, v, slope, layer):
        B, T, H, D = q.shape
        if layer not in self.gla_decays:
            t = torch.arange(T)
            self.gla_decays[layer] = torch.exp(slope * (t[:, None] - t[None, :]).clamp(min=0)) / math.sqrt(D)
        decay = (self.gla_decays[layer] * self.visible[:, None]).view(B * H, T, T)
        q, k, v = (y.transpose(1, 2).reshape(B * H, T, D) for y in (q, k, v))
        pairs = torch.bmm(q, k.transpose(1, 2)) * decay
        return torch.bmm(pairs, v).view(B, H, T, D).transpose(1, 2)

    def gla_chunked(self, q, k, v, slope, layer):
        B, T, H, D = q.shape
        C = CHUNK
        if layer not in self.gla_decays:
            t = torch.arange(C)
            within = torch.exp(slope * (t[:, None] - t[None, :]).clamp(min=0)) * self.lower / math.sqrt(D)
            rows = lambda power: torch.exp(slope * power[:, None])
            spread = lambda m: m.repeat(B, 1, 1)[:, None]
            decay = spread(torch.exp(slope * C))
            self.gla_decays[layer] = (
                spread(within),
                spread(rows(C - 1 - t)),
                spread(rows(t + 1) / math.sqrt(D)),
                decay,
            )
        within, to_end, from_start, decay = self.gla_decays[layer]
        q, k, v = self.chunks(q), self.chunks(k), self.chunks(v)
        pairs = torch.matmul(q, k.transpose(-1, -2)) * (within * self.same)
        KV = torch.matmul((k * (to_end * self.reaches)).transpose(-1, -2), v)
        decays = decay * self.keeps
        S = torch.zeros_like(KV[:, 0])
        states = []
        for n, update in enumerate(KV.unbind(1)):
            states.append(S)
            S = torch.addcmul(update, S, decays[:, n])
        o = torch.matmul(q * (from_start * self.sees), torch.stack(states, 1)) + torch.matmul(pairs, v)
        return self.unchunk(o, H)

    def raven(self, x, prefix):
        c, P, B, T = self.c, self.P, self.B, self.T
        h, H, KV = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
        M, top, d, eps = c["hybrid_raven_slots"], c["hybrid_raven_topk"], h // H, c["rms_norm_eps"]
        heads = lambda part, n: F.silu(self.linear(x, f"{prefix}.{part}_proj")).view(B, T, n, d)
        q = RmsNorm.apply(heads("q", H), P[f"{prefix}.q_norm.weight"], eps)
        k = RmsNorm.apply(heads("k", KV), P[f"{prefix}.k_norm.weight"], eps)
        q, k, v = self.chunks(q), self.chunks(self.repeat(k, H)), self.chunks(self.repeat(heads("v", KV), H))
        logits = self.linear(x, f"{prefix}.r_proj").view(B, T, H, M)
        share = torch.sigmoid(logits)
        if top < M:
            least = logits.detach().topk(top, dim=3, sorted=False).values.amin(3, keepdim=True)
            share = share * (logits.detach() >= least)
        rate = F.softplus(self.linear(x, f"{prefix}.a_proj") + P[f"{prefix}.dt_bias"])
        unit = (rate * -P[f"{prefix}.A_log"].exp()).view(B, T, H, 1) / (share.sum(3, keepdim=True) + 1e-9)
        f = self.chunks((share * unit).clamp(-LOG_RANGE / CHUNK, 0))
        relative = torch.matmul(self.relative, f)
        both = torch.exp(torch.matmul(self.halves, f))
        to_middle, to_end = both[:, :, :1], both[:, :, 1:]
        grow = torch.exp(relative)
        write = -torch.expm1(f) * torch.exp(-relative)
        scaled = write * self.reaches
        decays = (to_middle * to_end * self.keeps).unbind(1)
        K = (torch.matmul(k.transpose(-1, -2), scaled) * to_end).unbind(1)
        V = (torch.matmul(v.transpose(-1, -2), scaled) * to_end).unbind(1)
        keys, values = [torch.zeros_like(K[0])], [torch.zeros_like(V[0])]
        for n in range(self.N - 1):
            keys.append(torch.addcmul(K[n], keys[n], decays[n]))
            values.append(torch.addcmul(V[n], values[n], decays[n]))
        keys, values = torch.stack(keys, 1) * to_middle, torch.stack(values, 1) * to_middle
        pairs = torch.matmul(q, k.transpose(-1, -2)).masked_fill(self.hidden_pairs, 0)
        scores = torch.matmul(q * self.sees, keys) + torch.matmul(pairs, write)
        shares = (grow * scores).softmax(-1) * grow
        read = torch.matmul(shares, write.transpose(-1, -2)).masked_fill(self.hidden_pairs, 0)
        o = torch.matmul(shares * self.sees, values.transpose(-1, -2)) + torch.matmul(read, v)
        o = self.unchunk(o, H).reshape(B * T, h)
        return self.linear(RmsNorm.apply(F.silu(o), P[f"{prefix}.g_norm.weight"], 1e-5), f"{prefix}.o_proj")

    def hybrid(self, x, layer, branch):
        P = self.P
        prefix = f"model.layers.{layer}.attention"
        out = self.attention(x, prefix)
        if branch is None:
            return out
        part = f"{prefix}.{branch}_attention"
        b = self.gla(x, part, layer) if branch == "gla" else getattr(self, branch)(x, part)
        at = ["quasar", "raven", "gla"].index(branch)
        m = P[f"{prefix}.branch_mix_logits"].softmax(0)[at : at + 1].detach()
        gain = P[f"{prefix}.branch_output_gain"].detach()
        fixed = m / m.clamp(min=1e-6) * gain / gain.clamp(min=1e-6)
        gate = torch.sigmoid(P[f"{prefix}.replace_alpha_raw"]) * P[f"{prefix}.branch_global_output_gain"] * fixed
        z = b * (P[f"{prefix}.branch_output_channel_gain"] * gate)
        rank = self.c.get("hybrid_output_adapter_rank") or 0
        if rank == 0:
            return out + z
        scale = (self.c.get("hybrid_output_adapter_alpha") or rank) / rank
        narrow = self.linear(z, f"{prefix}.branch_output_adapter_down") * scale
        return out + z + self.linear(narrow, f"{prefix}.branch_output_adapter_up")

    def mlp(self, x, prefix):
        gate = F.silu(self.linear(x, f"{prefix}.gate_proj"))
        return self.linear(gate * self.linear(x, f"{prefix}.up_proj"), f"{prefix}.down_proj")

    def moe(self, x, prefix):
        c, P = self.c, self.P
        E, K, groups, kept = c["num_experts"], c["num_experts_per_tok"], c["n_group"], c["topk_group"]
        rows = x.shape[0]
        scores = torch.sigmoid(self.linear(x, f"{prefix}.gate"))
        bias = f"{prefix}.gate.expert_bias"
        biased = scores.detach() + P[bias]
        if kept < groups:
            grouped = biased.view(rows, groups, E // groups)
            best = grouped.topk(min(2, E // groups), dim=2).values.sum(2).topk(kept, dim=1).indices
            keep = torch.zeros(rows, groups, dtype=torch.bool).scatter_(1, best, True)
            biased = grouped.masked_fill(~keep[:, :, None], float("-inf")).view(rows, E)
        experts = biased.topk(K, dim=1).indices
        chosen = scores.gather(1, experts)
        weights = (chosen if K == 1 else chosen / (chosen.sum(1, keepdim=True) + 1e-20)) * c["routed_scaling_factor"]
        flat = experts.view(-1)
        order = flat.argsort(stable=True)
        slots = torch.empty_like(order).scatter_(0, order, torch.arange(rows * K))
        load = torch.bincount(flat, minlength=E)
        self.loads[bias] = load
        sizes = load.tolist()
        sorted_rows = GatherRows.apply(x, torch.div(order, K, rounding_mode="floor"), slots.view(rows, K))
        gate, up = GroupedMatmul.apply(sorted_rows, P[f"{prefix}.experts_w12"], sizes).chunk(2, -1)
        y = GroupedMatmul.apply(F.silu(gate) * up, P[f"{prefix}.experts_w3"], sizes)
        y = GatherRows.apply(y, slots, order.view(-1, 1)).view(rows, K, -1)
        out = torch.bmm(weights.view(rows, 1, K), y).view(rows, -1)
        return out if c["num_shared_experts"] == 0 else out + self.mlp(x, f"{prefix}.shared_experts")

    def branch_of(self, layer):
        """The layerwise layout: enabled names of the cycle in turn over the sorted hybrid layers."""
        c = self.c
        if layer not in c["hybrid_attention_layers"]:
            return None
        cycle = [name for name in c["hybrid_layerwise_cycle"] if c[f"hybrid_{name}_enabled"]]
        return cycle[sorted(c["hybrid_attention_layers"]).index(layer) % len(cycle)]

    def loss(self, ids, positions, labels):
        """Mean over the labels that count of −log softmax(logits_t)[label_{t+1}]."""
        c, P, eps = self.c, self.P, self.c["rms_norm_eps"]
        self.documents(positions)
        x = F.embedding(ids.view(-1), P["model.word_embeddings.weight"], padding_idx=c["pad_token_id"])
        for layer in range(c["num_hidden_layers"]):
            prefix = f"model.layers.{layer}"
            norm = RmsNorm.apply(x, P[f"{prefix}.input_layernorm.weight"], eps)
            x = x + self.hybrid(norm, layer, self.branch_of(layer))
            norm = RmsNorm.apply(x, P[f"{prefix}.post_attention_layernorm.weight"], eps)
            feed = self.mlp if layer < c["first_k_dense_replace"] else self.moe
            x = x + feed(norm, f"{prefix}.mlp")
        x = RmsNorm.apply(x, P["model.norm.weight"], eps)
        targets = F.pad(labels[:, 1:], (0, 1), value=-100)
        return F.cross_entropy(self.linear(x, "lm_head"), targets.reshape(-1), ignore_index=-100)
