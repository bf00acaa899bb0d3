"""Checks quasar_long.py against cases of other origin, and writes further cases in the same format.

    python3 make_cases.py check FOLDER...      compares with the stored logits, loss and gradients (needs python3-torch)
    python3 make_cases.py write FOLDER         writes every case of `cases.py` below FOLDER
"""

import json
import math
import os
import random
import struct
import sys

import torch

from cases import CASES
from quasar_long import Model, cross_entropy

TYPES = {"F32": torch.float32, "I64": torch.int64, "I32": torch.int32, "BF16": torch.bfloat16}
# Created in float32 by the reference, whatever the checkpoint is in.
ALWAYS_F32 = ("A_log", "dt_bias", "replace_alpha_raw", "mix_logits", "_gain", "mix_logit", "slope", "expert_bias", "inv_freq")


def read_tensors(path):
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    out = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + size + at for at in info["data_offsets"])
        out[name] = torch.frombuffer(bytearray(data[start:end]), dtype=TYPES[info["dtype"]]).reshape(info["shape"])
    return out


def write_tensors(path, tensors):
    header, body = {}, b""
    names = {dtype: name for name, dtype in TYPES.items()}
    for name in sorted(tensors):
        plain = tensors[name].detach().contiguous()
        raw = (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy().tobytes()
        header[name] = dict(dtype=names[tensors[name].dtype], shape=list(tensors[name].shape), data_offsets=[len(body), len(body) + len(raw)])
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)


def documents_of(positions):
    """Lengths: a document starts at column 0 and wherever a position that is not padding is 0; padding tokens stand alone."""
    starts = [t for t, p in enumerate(positions) if t == 0 or p == 0]
    return [b - a for a, b in zip(starts, starts[1:] + [len(positions)])]


def run(config, tensor, io):
    model = Model(config, tensor)
    rows = []
    ids, positions, labels = (io[name].tolist() for name in ("input_ids", "position_ids", "labels"))
    for b in range(len(ids)):
        rows.append(model.forward(ids[b], positions[b], labels[b], documents_of(positions[b])))
    logits = [row[0] for row in rows]
    ahead = [[row[1][j] for row in rows] for j in range(model.c["num_nextn_predict_layers"])]
    ce = cross_entropy(logits, labels, 0)
    loss = ce
    for j, extra in enumerate(ahead):
        loss = loss + model.c["mtp_loss_scaling_factor"] * cross_entropy(extra, labels, j + 1)
    return model, torch.stack(logits), [torch.stack(x) for x in ahead], ce, loss


class Drawn:
    """Draws each tensor at its first use, rounded to the case's dtype (float32), and remembers it."""

    def __init__(self, config, seed, special, dtype=torch.float32):
        self.config, self.seed, self.special, self.dtype, self.tensors = config, seed, special, dtype, {}

    def stored(self, name):
        return torch.float32 if name.endswith(ALWAYS_F32) else self.dtype

    def __call__(self, name, shape, kind):
        if name not in self.tensors:
            self.tensors[name] = self.draw(name, shape, kind)
        return self.tensors[name]

    def draw(self, name, shape, kind):
        rng = torch.Generator().manual_seed(int.from_bytes(f"{self.seed}:{name}".encode(), "little") % (2 ** 63))
        normal = lambda scale, mean=0.0: mean + scale * torch.randn(shape, generator=rng, dtype=torch.float64)
        uniform = lambda low, high: low + (high - low) * torch.rand(shape, generator=rng, dtype=torch.float64)
        if isinstance(kind, tuple):
            value = torch.tensor(kind[1]) if kind[0] == "integers" else kind[1]
        elif kind == "seeds":
            return torch.randint(1, 2 ** 31 - 1, shape, generator=rng)
        elif kind == "inv_freq":
            r = 2 * shape[0]
            value = torch.tensor([self.config.get("rope_theta", 600000.0) ** (-2 * j / r) for j in range(shape[0])], dtype=torch.float64)
        else:
            scale = 1.6 / math.sqrt(shape[-1]) if len(shape) > 1 else 0.3
            value = {
                "weight": lambda: normal(scale if "embeddings" not in name else 0.7), "router": lambda: normal(1.0 / math.sqrt(shape[-1]) * 2),
                "expert": lambda: normal(1.6 / math.sqrt(shape[-2])), "norm": lambda: uniform(0.6, 1.4), "bias": lambda: normal(0.2),
                "gain": lambda: uniform(0.6, 1.4), "scalar": lambda: uniform(-1.2, 0.8), "A_log": lambda: uniform(-1.5, 0.3),
                "dt_bias": lambda: normal(0.5), "expert_bias": lambda: normal(0.1), "conv": lambda: normal(0.4), "table": lambda: normal(0.8),
            }[kind]()
        for ending, override in self.special.items():
            if name.endswith(ending):
                value = torch.tensor(override(shape), dtype=torch.float64)
        if value.dtype == torch.int64:
            return value
        value = value.to(self.stored(name)).double()
        if name == "model.word_embeddings.weight" and self.config.get("pad_token_id") is not None:
            value[self.config["pad_token_id"]] = 0
        return value.requires_grad_(kind not in ("expert_bias", "inv_freq") and not isinstance(kind, tuple))


def inputs(case, seed):
    """Rows of documents; a row that is not full ends in padding."""
    rng = random.Random(f"{seed}:inputs")
    vocab, time = case["config"]["vocab_size"], case["time"]
    packed = "documents" in case
    rows = case.get("documents", [[time]] * case.get("batch", 2))
    io = {name: [] for name in ("input_ids", "position_ids", "labels", "compare_mask", "attention_mask")}
    for lengths in rows:
        ids, positions, labels = [], [], []
        for length in lengths:
            document = [rng.randrange(1, vocab) for _ in range(length)]
            ids += document
            positions += list(range(length))
            labels += ([-100] if packed else document[:1]) + document[1:]
        real, fill = len(ids), time - len(ids)
        io["input_ids"].append(ids + [0] * fill)
        io["position_ids"].append(positions + [0] * fill)
        io["labels"].append(labels + [-100] * fill)
        for name in ("compare_mask", "attention_mask"):
            io[name].append([1] * real + [0] * fill)
    if not packed:
        del io["attention_mask"]
    return {name: torch.tensor(rows, dtype=torch.int32) for name, rows in io.items()}


def unstacked(tensors):
    """Routed experts one by one and [out, in], as Ling stores them."""
    out = {}
    for name, value in tensors.items():
        if not name.endswith(("experts_w12", "experts_w3")):
            out[name] = value
            continue
        prefix = name.rsplit("experts_w", 1)[0]
        parts = dict(zip(("gate", "up"), value.chunk(2, -1))) if name.endswith("w12") else {"down": value}
        for part, stack in parts.items():
            out.update({f"{prefix}experts.{e}.{part}_proj.weight": matrix.t() for e, matrix in enumerate(stack)})
    return out


def write_weights(target, tensors, shards):
    if shards == 1:
        return write_tensors(os.path.join(target, "model.safetensors"), tensors)
    files = {n: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, n in enumerate(sorted(tensors))}
    for file in sorted(set(files.values())):
        write_tensors(os.path.join(target, file), {n: t for n, t in tensors.items() if files[n] == file})
    json.dump(dict(metadata={}, weight_map=files), open(os.path.join(target, "model.safetensors.index.json"), "w"), indent=1)


def write_case(folder, name, case):
    for seed in range(case.get("seed", 1), 1000):
        drawn, io = Drawn(case["config"], seed, case.get("special", {}), case.get("dtype", torch.float32)), inputs(case, seed)
        model, logits, ahead, ce, loss = run(case["config"], drawn, io)
        if min(model.margins.values(), default=1) >= 2e-5:
            break
    loss.backward()
    grads = {n: (t.grad if t.grad is not None else torch.zeros_like(t)) for n, t in drawn.tensors.items() if t.requires_grad}
    total = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
    laid_out = unstacked if case.get("experts") == "apart" else lambda tensors: tensors
    grads = laid_out(grads)
    target = os.path.join(folder, name)
    os.makedirs(target, exist_ok=True)
    config = dict(case["config"], model_type="quasar_long")
    json.dump(config, open(os.path.join(target, "config.json"), "w"), indent=1, sort_keys=True)
    stored = {n: t if t.dtype == torch.int64 else t.to(drawn.stored(n)) for n, t in drawn.tensors.items()}
    write_weights(target, laid_out(stored), case.get("shards", 1))
    io.update(logits=logits.float(), loss=loss.reshape(1).float(), **{f"mtp_logits.{j}": x.float() for j, x in enumerate(ahead)})
    write_tensors(os.path.join(target, "io.safetensors"), io)
    write_tensors(os.path.join(target, "grads.safetensors"), {n: g.float() for n, g in grads.items() if g.numel() <= 2500 and "engram.embed_tables" not in n})
    expected = dict(
        case=name, note=case["note"], seed=seed, loss=float(loss), ce=float(ce), mtp_loss=float(loss - ce) if ahead else None,
        computed_in=f"float64 from {str(drawn.dtype)[6:]} weights", min_topk_margins=model.margins,
        suggested_tolerance=dict(logits_abs=1e-3, loss_abs=1e-4, grad="norm(g - ref) <= 2e-3 * norm(ref) + 1e-5 * grad_total_norm"),
        grad_total_norm=total, grad_l2_norms={n: float(g.norm()) for n, g in sorted(grads.items())},
    )
    json.dump(expected, open(os.path.join(target, "expected.json"), "w"), indent=1)
    print(f"{name}: seed {seed}, loss {float(loss):.6f}, margins {model.margins}")


def check_case(folder):
    config = json.load(open(os.path.join(folder, "config.json")))
    expected = json.load(open(os.path.join(folder, "expected.json")))
    stored = read_tensors(os.path.join(folder, "model.safetensors"))
    io = read_tensors(os.path.join(folder, "io.safetensors"))
    weights = {n: t if t.dtype == torch.int64 else t.double().requires_grad_() for n, t in stored.items()}

    def tensor(name, shape, kind):
        assert tuple(weights[name].shape) == tuple(shape), (name, weights[name].shape, shape)
        return weights[name]

    model, logits, _, _, loss = run(config, tensor, io)
    loss.backward()
    mask = io["compare_mask"].bool()
    worst = 0.0
    for name, reference in read_tensors(os.path.join(folder, "grads.safetensors")).items():
        got = weights[name].grad if weights[name].grad is not None else torch.zeros_like(weights[name])
        allowed = 2e-3 * float(reference.norm()) + 1e-5 * expected["grad_total_norm"]
        worst = max(worst, float((got - reference).norm()) / allowed)
    print(f"{folder}: logits {float((logits - io['logits'])[mask].abs().max()):.1e}, loss {abs(float(loss) - expected['loss']):.1e}, worst gradient {worst:.1e} of its tolerance")


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, *rest = sys.argv[1:]
    if command == "check":
        for folder in rest:
            check_case(folder)
    else:
        for name, case in CASES.items():
            if len(rest) < 2 or name in rest[1:]:
                write_case(rest[0], name, case)
