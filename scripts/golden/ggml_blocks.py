"""Asks ggml's own reference quantisers for blocks: FOLDER of the shared libraries (node-llama-cpp's), OUT.safetensors.

The values are normal, uniform, heavy-tailed, offset, with outliers, constant, nearly zero, zero and on ties, so that a
quantiser that rounds otherwise is seen. Beside each type's bytes lie the values that ggml reads back from them.
"""
import ctypes
import json
import struct
import sys
from pathlib import Path

import numpy as np

TYPES = {"q8_0": 34 / 32, "q4_0": 18 / 32, "mxfp4": 17 / 32, "q4_K": 144 / 256, "q5_K": 176 / 256, "q6_K": 210 / 256}


def values() -> np.ndarray:
    rng = np.random.default_rng(20261125)
    normal = rng.standard_normal((8, 256))
    rows = [
        normal,
        rng.uniform(-1, 1, (4, 256)),
        0.02 * rng.standard_t(3, (4, 256)),
        0.1 * rng.standard_normal((2, 256)) + 0.3,
        0.1 * rng.standard_normal((2, 256)) - 0.3,
        np.where(rng.random((2, 256)) < 0.02, 20, 1) * rng.standard_normal((2, 256)),
        np.abs(rng.standard_normal((2, 256))),
        np.full((1, 256), 0.7),
        np.full((1, 256), -0.7),
        1e-7 * rng.standard_normal((1, 256)),
        1e-30 * rng.standard_normal((1, 256)),
        1e3 * rng.standard_normal((1, 256)),
        np.zeros((1, 256)),
        # Halves of a power of two's steps: ties of every type.
        rng.integers(-24, 25, (2, 256)) / 4,
        np.tile(np.repeat([1.0, -2.0, 4.0, -8.0], 8), (1, 8)),
    ]
    return np.concatenate(rows).astype(np.float32).reshape(-1)


def main(folder: str, out: str) -> None:
    ggml = ctypes.CDLL(str(Path(folder) / "libggml-base.so"))
    x = np.ascontiguousarray(values())
    pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p)
    tensors = {"values": ("F32", x)}
    for name, share in TYPES.items():
        data = np.zeros(int(x.size * share), np.uint8)
        getattr(ggml, f"quantize_row_{name}_ref")(pointer(x), pointer(data), ctypes.c_int64(x.size))
        back = np.zeros_like(x)
        getattr(ggml, f"dequantize_row_{name}")(pointer(data), pointer(back), ctypes.c_int64(x.size))
        tensors[name] = ("U8", data)
        tensors[f"{name}.values"] = ("F32", back)
    for name, width in (("fp16", 2), ("bf16", 2)):
        data = np.zeros(x.size * width, np.uint8)
        function = {"fp16": "ggml_fp32_to_fp16_row", "bf16": "ggml_fp32_to_bf16_row_ref"}[name]
        getattr(ggml, function)(pointer(x), pointer(data), ctypes.c_int64(x.size))
        tensors[name] = ("U8", data)
    header, at, chunks = {}, 0, []
    for name, (dtype, data) in tensors.items():
        raw = data.tobytes()
        header[name] = {"dtype": dtype, "shape": [data.size], "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        chunks.append(raw)
    header["__metadata__"] = {"made_by": "ggml of llama.cpp v0.5.0 (node-llama-cpp 3.22.1)"}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(out).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


main(*sys.argv[1:])
