"""The quasar_long model from its specification alone, token by token in float64: slow, and an oracle for the graphs.

Nothing here follows src/model: recurrences are loops over tokens, documents of a packed row are run one after another,
gradients are PyTorch's autograd. A tensor is drawn, or looked up, under its checkpoint name where the page first names it.
"""

import math

import torch
import torch.nn.functional as F

DEFAULTS = dict(
    use_qkv_bias=False, use_bias=False, use_qk_norm=True, rms_norm_eps=1e-6, tie_word_embeddings=False,
    rope_theta=600000.0, partial_rotary_factor=1.0, use_nope=False, long_context_mode="rope_short_nope_long",
    nope_after_position=512, num_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=1.0,
    num_nextn_predict_layers=0, mtp_loss_scaling_factor=0.0, hybrid_attention_layers=[], hybrid_branch_layout="mixed",
    hybrid_layerwise_cycle=["quasar", "raven", "gla"], hybrid_quasar_enabled=True, hybrid_raven_enabled=False,
    hybrid_gla_enabled=True, hybrid_gla_layers=[], hybrid_replacement_mode="gated", hybrid_quasar_mode="chunk",
    hybrid_quasar_use_rope=False, hybrid_use_short_conv=False, hybrid_gla_group_norm_size=None,
    hybrid_raven_slots=64, hybrid_raven_topk=32, hybrid_output_adapter_rank=16, hybrid_output_adapter_alpha=None,
    hybrid_local_window_size=0, hybrid_local_window_max_fraction=1 / 3, num_loops=1, use_looped_injection=False,
    use_parcae_loop_stabilizer=False, engram_layers=[], engram_dim=512, engram_slots=2000000, engram_num_heads=8,
    engram_ngram_orders=[2, 3], engram_residual_scale=0.01, hybrid_alpha_zero_bypass=False,
)


def rms(x, weight=None, eps=1e-6):
    y = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return y if weight is None else y * weight


class Model:
    """`tensor(name, shape, kind)` gives a weight; kind is 'weight', 'norm', 'bias' or a name of its own."""

    def __init__(self, config, tensor):
        self.c = dict(DEFAULTS, **config)
        self.tensor = tensor
        self.margins = {}

    def margin(self, kind, value):
        self.margins[kind] = min(self.margins.get(kind, math.inf), float(value))

    def linear(self, x, name, rows, bias=False):
        y = x @ self.tensor(f"{name}.weight", (rows, x.shape[-1]), "weight").T
        return y + self.tensor(f"{name}.bias", (rows,), "bias") if bias else y

    def norm(self, x, name, eps=None):
        weight = self.tensor(f"{name}.weight", (x.shape[-1],), "norm")
        return rms(x, weight, self.c["rms_norm_eps"] if eps is None else eps)

    # ---- the whole network ---------------------------------------------------------------------------------------

    def forward(self, ids, positions, labels, documents):
        """One row: ids, positions, labels are lists; documents: lengths of the documents that fill the row."""
        c = self.c
        table = self.tensor("model.word_embeddings.weight", (c["vocab_size"], c["hidden_size"]), "weight")
        self.table, self.ids, self.positions, self.documents = table, ids, positions, documents
        self.tensor("model.rotary_emb.inv_freq", (int(c["head_dim"] * c["partial_rotary_factor"]) // 2,), "inv_freq")
        x = anchor = self.embed(ids)
        for _ in range(c["num_loops"]):
            for i in range(c["num_hidden_layers"]):
                x = self.layer(x, anchor, i)
        hidden = self.norm(x, "model.norm")
        logits = self.head(hidden)
        ahead = []
        for j in range(c["num_nextn_predict_layers"]):
            shifted = (ids[j + 1:] + [0] * (j + 1))[: len(ids)]
            hidden = self.mtp(hidden, shifted, c["num_hidden_layers"] + j)
            ahead.append(self.head(hidden))
        return logits, ahead

    def embed(self, ids):
        pad = self.c.get("pad_token_id")
        rows = [self.table[i].detach() if i == pad else self.table[i] for i in ids]
        return torch.stack(rows)

    def head(self, hidden):
        if self.c["tie_word_embeddings"]:
            return hidden @ self.table.T
        return hidden @ self.tensor("lm_head.weight", tuple(self.table.shape), "weight").T

    def layer(self, x, anchor, i):
        c, name = self.c, f"model.layers.{i}"
        if c["use_parcae_loop_stabilizer"]:
            decay = self.tensor(f"{name}.parcae_decay_raw", (1,), "scalar")
            gate = self.tensor(f"{name}.parcae_anchor_gate", (1,), "scalar")
            x = torch.exp(-F.softplus(decay)) * x + torch.sigmoid(gate) * anchor
        if c["use_looped_injection"]:
            x = x + torch.sigmoid(self.tensor(f"{name}.injection_gate", (1,), "scalar")) * anchor
        if i in c["engram_layers"]:
            x = x + c["engram_residual_scale"] * self.engram(x, f"{name}.engram")
        x = x + self.hybrid(self.norm(x, f"{name}.input_layernorm"), i)
        y = self.norm(x, f"{name}.post_attention_layernorm")
        return x + (self.mlp(y, f"{name}.mlp", c["intermediate_size"]) if i < c["first_k_dense_replace"] else self.moe(y, f"{name}.mlp"))

    def mtp(self, hidden, shifted, i):
        name = f"model.layers.{i}"
        both = torch.cat([self.norm(self.embed(shifted), f"{name}.enorm"), self.norm(hidden, f"{name}.hnorm")], -1)
        x = self.linear(both, f"{name}.eh_proj", self.c["hidden_size"])
        x = x + self.attention(self.norm(x, f"{name}.input_layernorm"), f"{name}.attention")
        x = x + self.moe(self.norm(x, f"{name}.post_attention_layernorm"), f"{name}.mlp")
        return self.norm(x, f"{name}.final_layernorm")

    # ---- feed-forward --------------------------------------------------------------------------------------------

    def mlp(self, x, name, width):
        gate = F.silu(self.linear(x, f"{name}.gate_proj", width))
        return self.linear(gate * self.linear(x, f"{name}.up_proj", width), f"{name}.down_proj", self.c["hidden_size"])

    def moe(self, x, name):
        c = self.c
        E, K, I, h = c["num_experts"], c["num_experts_per_tok"], c["moe_intermediate_size"], c["hidden_size"]
        groups, kept = c["n_group"], c["topk_group"]
        scores = torch.sigmoid(x @ self.tensor(f"{name}.gate.weight", (E, h), "router").T)
        bias = self.tensor(f"{name}.gate.expert_bias", (E,), "expert_bias")
        w12 = self.tensor(f"{name}.experts_w12", (E, h, 2 * I), "expert")
        w3 = self.tensor(f"{name}.experts_w3", (E, I, h), "expert")
        rows = []
        for t in range(x.shape[0]):
            b = (scores[t] + bias).detach()
            per = E // groups
            best = [sum(sorted(b[g * per:(g + 1) * per].tolist(), reverse=True)[:2]) for g in range(groups)]
            order = sorted(range(groups), key=lambda g: -best[g])
            if kept < groups:
                self.margin("group", best[order[kept - 1]] - best[order[kept]])
            allowed = [e for g in order[:kept] for e in range(g * per, (g + 1) * per)]
            allowed.sort(key=lambda e: -b[e].item())
            if K < len(allowed):
                self.margin("expert", b[allowed[K - 1]] - b[allowed[K]])
            chosen = allowed[:K]
            total = sum(scores[t, e] for e in chosen) + 1e-20
            y = torch.zeros(h, dtype=x.dtype)
            for e in chosen:
                weight = (scores[t, e] / total if K > 1 else scores[t, e]) * c["routed_scaling_factor"]
                up = x[t] @ w12[e]
                y = y + weight * ((F.silu(up[:I]) * up[I:]) @ w3[e])
            rows.append(y)
        y = torch.stack(rows)
        shared = c["num_shared_experts"]
        return y + self.mlp(x, f"{name}.shared_experts", I * shared) if shared else y

    # ---- softmax attention ---------------------------------------------------------------------------------------

    def rotate(self, x):
        """x (T, heads, D)."""
        c = self.c
        if c["use_nope"] and c["long_context_mode"] != "rope_short_nope_long":
            return x
        r = int(x.shape[-1] * c["partial_rotary_factor"])
        out = []
        for t, position in enumerate(self.positions):
            if c["use_nope"] and position >= c["nope_after_position"]:
                out.append(x[t])
                continue
            angle = torch.tensor([position * c["rope_theta"] ** (-2 * j / r) for j in range(r // 2)], dtype=x.dtype)
            a, b = x[t][:, : r // 2], x[t][:, r // 2:r]
            out.append(torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin(), x[t][:, r:]], -1))
        return torch.stack(out)

    def heads(self, x, name):
        c = self.c
        H, KV, D = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        y = self.linear(x, f"{name}.query_key_value", (H + 2 * KV) * D, c["use_qkv_bias"]).reshape(-1, H + 2 * KV, D)
        q, k, v = y[:, :H], y[:, H:H + KV], y[:, H + KV:]
        if c["use_qk_norm"]:
            q, k = self.norm(q, f"{name}.query_layernorm"), self.norm(k, f"{name}.key_layernorm")
        repeat = lambda z: z.repeat_interleave(H // KV, dim=1)
        return self.rotate(q), repeat(self.rotate(k)), repeat(v)

    def attention(self, x, name, window=None):
        q, k, v = self.heads(x, name)
        T, H, D = q.shape
        document = [n for n, length in enumerate(self.documents) for _ in range(length)]
        out = []
        for t in range(T):
            first = 0 if window is None else max(0, t - window + 1)
            seen = [j for j in range(first, t + 1) if document[j] == document[t]]
            scores = torch.einsum("hd,jhd->hj", q[t], k[seen]) / math.sqrt(D)
            out.append(torch.einsum("hj,jhd->hd", scores.softmax(-1), v[seen]).reshape(-1))
        return self.linear(torch.stack(out), f"{name}.dense", self.c["hidden_size"], self.c["use_bias"])

    # ---- hybrid layers -------------------------------------------------------------------------------------------

    def branches(self, i):
        c = self.c
        if i not in c["hybrid_attention_layers"]:
            return None
        on = [b for b in ("quasar", "raven", "gla") if c[f"hybrid_{b}_enabled"]]
        if c["hybrid_branch_layout"] == "layerwise":
            cycle = [b for b in c["hybrid_layerwise_cycle"] if b in on]
            on = [cycle[sorted(c["hybrid_attention_layers"]).index(i) % len(cycle)]]
        if c["hybrid_gla_layers"] and i not in c["hybrid_gla_layers"]:
            on = [b for b in on if b != "gla"]
        return on

    def hybrid(self, x, i):
        c, name = self.c, f"model.layers.{i}.attention"
        branches = self.branches(i)
        softmax = self.attention(x, name)
        if branches is None:
            return softmax
        h, R = c["hidden_size"], c["hybrid_output_adapter_rank"]
        raw = self.tensor(f"{name}.replace_alpha_raw", (1,), "scalar")
        mix = self.tensor(f"{name}.branch_mix_logits", (3,), "scalar")
        gain = self.tensor(f"{name}.branch_output_gain", (1,), "gain")
        world = self.tensor(f"{name}.branch_global_output_gain", (1,), "gain")
        channel = self.tensor(f"{name}.branch_output_channel_gain", (h,), "gain")
        local = self.tensor(f"{name}.branch_local_window_mix_logit", (1,), "scalar")
        m = mix.softmax(0) * torch.tensor([float(b in branches) for b in ("quasar", "raven", "gla")], dtype=x.dtype)
        m = m / m.sum().clamp(min=1e-6)
        z = torch.zeros_like(x)
        for n, branch in enumerate(("quasar", "raven", "gla")):
            if branch in branches:
                z = z + m[n] * getattr(self, branch)(x, f"{name}.{branch}_attention", i)
        z = world / gain.clamp(min=1e-6) * z
        if c["hybrid_local_window_size"] > 0:
            f = torch.sigmoid(local).clamp(max=c["hybrid_local_window_max_fraction"])
            z = (1 - f) * z + f * self.attention(x, name, c["hybrid_local_window_size"])
        z = channel * (gain * z)
        if R > 0:
            scale = (c["hybrid_output_adapter_alpha"] or R) / R
            down = self.linear(z, f"{name}.branch_output_adapter_down", R)
            z = z + scale * self.linear(down, f"{name}.branch_output_adapter_up", h)
        if c["hybrid_alpha_zero_bypass"] and float(raw) < -13.8:
            return softmax
        if c["hybrid_replacement_mode"] in ("full", "replace", "linear"):
            return z
        return softmax + torch.sigmoid(raw) * z

    def per_document(self):
        start = 0
        for length in self.documents:
            yield range(start, start + length)
            start += length

    def short_conv(self, x, name):
        """x (T, width), four taps, the last of them the current token."""
        if not self.c["hybrid_use_short_conv"]:
            return x
        weight = self.tensor(f"{name}.weight", (x.shape[-1], 1, 4), "conv")
        out = []
        for document in self.per_document():
            for t in document:
                out.append(sum(weight[:, 0, 3 - back] * x[t - back] for back in range(4) if t - back >= document.start))
        return torch.stack(out)

    def quasar(self, x, name, i):
        c = self.c
        H, D, h = c["num_attention_heads"], c["head_dim"], c["hidden_size"]
        u = rms(x.clamp(-60, 60), None, 1e-6)
        project = lambda part: F.silu(self.short_conv(self.linear(u, f"{name}.{part}_proj", H * D), f"{name}.{part}_conv1d")).reshape(-1, H, D)
        q, k, v = project("q"), project("k"), project("v")
        f = self.linear(u, f"{name}.f_proj", H * D).reshape(-1, H, D)
        if c["hybrid_quasar_use_rope"]:
            q, k = self.rotate(q), self.rotate(k)
        q = q / q.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        k = k / k.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        beta = torch.sigmoid(self.linear(u, f"{name}.b_proj", H))
        rate = self.tensor(f"{name}.A_log", (H,), "A_log").exp()
        bias = self.tensor(f"{name}.dt_bias", (H * D,), "dt_bias").reshape(H, D)
        squares = (k * k).sum(-1)
        if c["hybrid_quasar_mode"] == "chunk":
            n = squares.clamp(0.1, 10)
            gamma = rate[:, None] * F.softplus(beta[:, :, None] + bias)
            alpha = ((1 - torch.exp(-gamma)) / (n[:, :, None] + 1e-6)).mean(-1).clamp(1e-4, 0.95)
            decay = torch.ones_like(k)
        else:
            n = squares.clamp(min=0.05)
            alpha = (1 - torch.exp(-beta * n)) / (n + 1e-8)
            decay = torch.exp(-rate[:, None] * F.softplus(f + bias))
        out = []
        for document in self.per_document():
            S = torch.zeros(H, D, D, dtype=x.dtype)
            for t in document:
                S = decay[t][:, :, None] * S
                e = v[t] - torch.einsum("hkv,hk->hv", S, k[t])
                S = S + alpha[t][:, None, None] * k[t][:, :, None] * e[:, None, :]
                out.append(torch.einsum("hkv,hk->hv", S, q[t]) / math.sqrt(D))
        o = torch.stack(out).clamp(-1e4, 1e4)
        low = u @ self.tensor(f"{name}.g_proj.0.weight", (D, h), "weight").T
        g = self.linear(low, f"{name}.g_proj.1", H * D, True).clamp(-30, 30).reshape(-1, H, D)
        weight = self.tensor(f"{name}.o_norm.weight", (D,), "norm").clamp(0, 4)
        y = rms(o, weight, c["rms_norm_eps"]) * torch.sigmoid(g)
        return self.linear(y.reshape(-1, H * D), f"{name}.o_proj", h)

    def slopes(self):
        H = self.c["num_attention_heads"]
        power = 2 ** int(math.log2(H))
        series = lambda n: [2 ** (-8 * (j + 1) / n) for j in range(n)]
        return series(H) if power == H else series(power) + series(2 * power)[0::2][: H - power]

    def gla(self, x, name, i):
        c = self.c
        H, D, L = c["num_attention_heads"], c["head_dim"], c["num_hidden_layers"]
        q, k, v = self.heads(x, name)
        factor = 1 if L == 1 else 1 - max(i - 1, 0) / (L - 1) + 1e-5
        g = torch.tensor([-s * factor for s in self.slopes()], dtype=x.dtype)
        self.tensor(f"{name}.slope", (H,), ("slope", g))
        out = []
        for document in self.per_document():
            S = torch.zeros(H, D, D, dtype=x.dtype)
            for t in document:
                S = g.exp()[:, None, None] * S + k[t][:, :, None] * v[t][:, None, :]
                out.append(torch.einsum("hkv,hk->hv", S, q[t]).reshape(-1) / math.sqrt(D))
        groups = c["hybrid_gla_group_norm_size"] or H
        o = rms(torch.stack(out).reshape(-1, groups, H * D // groups), None, c["rms_norm_eps"]).reshape(-1, H * D)
        o = o * self.tensor(f"{name}.g_norm.weight", (H * D,), "norm") * torch.sigmoid(self.linear(x, f"{name}.g_proj", H * D))
        return self.linear(o, f"{name}.dense", c["hidden_size"], c["use_bias"])

    def raven(self, x, name, i):
        c = self.c
        H, KV, h = c["num_attention_heads"], c["num_key_value_heads"], c["hidden_size"]
        M, N, d = c["hybrid_raven_slots"], c["hybrid_raven_topk"], c["hidden_size"] // c["num_attention_heads"]
        project = lambda part, heads: F.silu(self.linear(x, f"{name}.{part}_proj", heads * d)).reshape(-1, heads, d)
        q = self.norm(project("q", H), f"{name}.q_norm")
        k = self.norm(project("k", KV), f"{name}.k_norm").repeat_interleave(H // KV, dim=1)
        v = project("v", KV).repeat_interleave(H // KV, dim=1)
        rate = self.tensor(f"{name}.A_log", (H,), "A_log").exp()
        lam = -rate * F.softplus(self.linear(x, f"{name}.a_proj", H) + self.tensor(f"{name}.dt_bias", (H,), "dt_bias"))
        p = torch.sigmoid(self.linear(x, f"{name}.r_proj", H * M)).reshape(-1, H, M)
        top = p.detach().sort(-1, descending=True)
        if N < M:
            self.margin("raven", (top.values[..., N - 1] - top.values[..., N]).min())
        keep = torch.zeros_like(p).scatter(-1, top.indices[..., :N], 1.0)
        w = p * keep / ((p * keep).sum(-1, keepdim=True) + 1e-9)
        f = lam[:, :, None] * w
        s = 1 - f.exp()
        out = []
        for document in self.per_document():
            keys = torch.zeros(H, d, M, dtype=x.dtype)
            values = torch.zeros(H, M, d, dtype=x.dtype)
            for t in document:
                keys = keys * f[t].exp()[:, None, :] + k[t][:, :, None] * s[t][:, None, :]
                a = torch.einsum("hdm,hd->hm", keys, q[t]).softmax(-1)
                values = f[t].exp()[:, :, None] * values + s[t][:, :, None] * v[t][:, None, :]
                out.append(torch.einsum("hmd,hm->hd", values, a).reshape(-1))
        y = self.norm(F.silu(torch.stack(out)), f"{name}.g_norm", 1e-5)
        return self.linear(y, f"{name}.o_proj", h)

    # ---- Engram --------------------------------------------------------------------------------------------------

    def engram(self, x, name):
        c = self.c
        d, heads, orders, V = c["engram_dim"], c["engram_num_heads"], c["engram_ngram_orders"], c["vocab_size"]
        n = len(orders) * heads
        slots = next(m for m in range(max(2, c["engram_slots"] // n), 1 << 40) if all(m % p for p in range(2, int(m ** 0.5) + 1)))
        width = max(16, d // n)
        tables = self.tensor(f"{name}.embed_tables", (n, slots, width), "table")
        canon = [j * 2654435761 % int(0.77 * V) for j in range(V)]
        self.tensor(f"{name}.token_map", (V,), ("integers", canon))
        self.tensor(f"{name}.ngram_orders_buf", (len(orders),), ("integers", orders))
        seeds = self.tensor(f"{name}.seeds", (n,), "seeds")
        wrap = lambda z: (z + 2 ** 63) % 2 ** 64 - 2 ** 63
        rows = []
        for t in range(len(self.ids)):
            parts = []
            for o, order in enumerate(orders):
                gram = [canon[self.ids[j]] if j >= 0 else 0 for j in range(t - order + 1, t + 1)]
                for head in range(heads):
                    z = int(seeds[o * heads + head])
                    for token in gram:
                        z = wrap(z * 2654435761) ^ token
                    parts.append(tables[o * heads + head, abs(z) % slots])
            rows.append(torch.cat(parts))
        limit = lambda y: y.clamp(-100, 100)
        e = limit(self.linear(torch.stack(rows).clamp(-10, 10), f"{name}.embed_proj", d))
        q = limit(self.linear(x, f"{name}.q_proj", d))
        k = limit(self.linear(e, f"{name}.W_K", d))
        v = limit(self.linear(e, f"{name}.W_V", d))
        unit = lambda y: y / y.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        g = torch.sigmoid((unit(q) * unit(k)).sum(-1, keepdim=True) / math.sqrt(d)) * v
        inner = self.norm(g, f"{name}.conv_norm", 1e-6)
        weight = self.tensor(f"{name}.conv.weight", (d, 1, 4), "conv")
        mixed = torch.stack([sum(weight[:, 0, tap] * inner[t - 3 * (3 - tap)] for tap in range(4) if t - 3 * (3 - tap) >= 0) for t in range(len(self.ids))])
        return limit(self.linear(F.silu(mixed) + g, f"{name}.out_proj", c["hidden_size"]))


def cross_entropy(rows, labels, ahead):
    """Mean over all rows of -log softmax(logits_t)[label_{t + 1 + ahead}]; -100 and places past the end do not count."""
    losses = []
    for logits, row in zip(rows, labels):
        for t in range(len(row) - 1 - ahead):
            if row[t + 1 + ahead] != -100:
                losses.append(-logits[t].log_softmax(-1)[row[t + 1 + ahead]])
    return torch.stack(losses).mean()
