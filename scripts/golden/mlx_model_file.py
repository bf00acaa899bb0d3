"""Runs src/export/mlx/quasar_long.py on golden cases, with numpy under the names of MLX that it uses: FOLDER of a case ...

MLX has no binaries in npm or Debian. This says that the file computes what the specification says, not that MLX takes it.
"""
import dataclasses
import importlib.util
import json
import struct
import sys
import types
from pathlib import Path

import numpy as np


class Array(np.ndarray):
    """Axes of a transposition as arguments, as MLX takes them."""


def array(x):
    x = np.asarray(x)
    return (x.astype(np.float32) if x.dtype == np.float64 else x).view(Array)


def wrapped(function):
    return lambda *args, **options: array(function(*args, **options))


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


core = types.ModuleType("mlx.core")
core.float32 = np.float32
functions = {
    "mean": np.mean, "sqrt": np.sqrt, "logaddexp": np.logaddexp, "zeros_like": np.zeros_like, "sum": np.sum,
    "maximum": np.maximum, "exp": np.exp, "where": np.where, "power": np.power, "cos": np.cos, "sin": np.sin,
    "concatenate": np.concatenate, "stack": np.stack, "clip": np.clip, "sort": np.sort,
    "take_along_axis": np.take_along_axis, "softmax": softmax,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "ones": lambda shape: np.ones(shape, np.float32),
    "zeros": lambda shape: np.zeros(shape, np.float32),
    "arange": lambda *args, dtype=None: np.arange(*args, dtype=dtype),
    "repeat": lambda x, count, axis: np.repeat(x, count, axis),
    "argsort": lambda x, axis=-1: np.argsort(x, axis=axis, kind="stable"),
}
for name, function in functions.items():
    setattr(core, name, wrapped(function))


class Module:
    def __contains__(self, name):
        return hasattr(self, name)


class Linear(Module):
    def __init__(self, inputs, outputs, bias=True):
        self.weight = core.zeros((outputs, inputs))
        if bias:
            self.bias = core.zeros((outputs,))

    def __call__(self, x):
        y = x @ self.weight.T
        return array(y + self.bias if hasattr(self, "bias") else y)


class Embedding(Module):
    def __init__(self, count, width):
        self.weight = core.zeros((count, width))

    def __call__(self, ids):
        return array(self.weight[ids])

    def as_linear(self, x):
        return array(x @ self.weight.T)


class Stacked(Module):
    def __init__(self, *shape):
        self.weight = core.zeros(shape)


class SwitchGLU(Module):
    def __init__(self, hidden, width, experts):
        self.gate_proj, self.up_proj = Stacked(experts, width, hidden), Stacked(experts, width, hidden)
        self.down_proj = Stacked(experts, hidden, width)

    def __call__(self, x, chosen):
        gate = np.einsum("bth,btkih->btki", x, self.gate_proj.weight[chosen])
        up = np.einsum("bth,btkih->btki", x, self.up_proj.weight[chosen])
        return array(np.einsum("btki,btkhi->btkh", gate / (1 + np.exp(-gate)) * up, self.down_proj.weight[chosen]))


def install():
    names = ("mlx", "mlx.nn", "mlx_lm", "mlx_lm.models", "mlx_lm.models.base", "mlx_lm.models.switch_layers")
    modules = {name: types.ModuleType(name) for name in names} | {"mlx.core": core}
    for name, value in {"Module": Module, "Linear": Linear, "Embedding": Embedding}.items():
        setattr(modules["mlx.nn"], name, value)
    modules["mlx"].core, modules["mlx"].nn = core, modules["mlx.nn"]
    modules["mlx_lm.models.base"].BaseModelArgs = type("BaseModelArgs", (), {})
    modules["mlx_lm.models.switch_layers"].SwitchGLU = SwitchGLU
    sys.modules.update(modules)


def read(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    types_of = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32}
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            data = np.frombuffer(raw[8 + length + start : 8 + length + end], types_of[entry["dtype"]])
            tensors[name] = data.reshape(entry["shape"])
    return tensors


def renamed(tensors):
    for name, values in tensors.items():
        if name.endswith("experts_w12"):
            half, turned = values.shape[2] // 2, values.transpose(0, 2, 1)
            yield name.replace("experts_w12", "switch_mlp.gate_proj.weight"), turned[:, :half]
            yield name.replace("experts_w12", "switch_mlp.up_proj.weight"), turned[:, half:]
        elif name.endswith("experts_w3"):
            yield name.replace("experts_w3", "switch_mlp.down_proj.weight"), values.transpose(0, 2, 1)
        elif not name.endswith("inv_freq"):
            yield name.replace("mlp.gate.weight", "mlp.gate.gate_proj.weight"), values


def put(model, name, values):
    *path, last = name.split(".")
    for part in path:
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    assert getattr(model, last).shape == values.shape, name
    setattr(model, last, array(values))


def main(*folders):
    install()
    source = Path(__file__).parents[2] / "src/export/mlx/quasar_long.py"
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("quasar_long", source)
    module = importlib.util.module_from_spec(spec)
    sys.modules["quasar_long"] = module
    spec.loader.exec_module(module)
    worst = 0
    for folder in map(Path, folders):
        config = json.loads((folder / "config.json").read_text())
        known = {each.name for each in dataclasses.fields(module.ModelArgs)}
        args = module.ModelArgs(**{key: value for key, value in config.items() if key in known and value is not None})
        model = module.Model(args)
        for name, values in renamed(read(folder / "model.safetensors")):
            put(model, name, values)
        io = read(folder / "io.safetensors")
        error = float(np.abs(np.asarray(model(io["input_ids"])) - io["logits"])[io["compare_mask"] != 0].max())
        print(f"{folder.name}: logits within {error:.2e}")
        worst = max(worst, error)
    sys.exit(worst > 1e-4)


main(*sys.argv[1:])
