"""Asks llama.cpp's own quantiser what it makes of a float32 GGUF file: FOLDER of the shared libraries (node-llama-cpp's),
IN.gguf, OUT.gguf, number of its llama_ftype. The structure's layout is that of release v0.5.0.
"""
import ctypes
import sys
from pathlib import Path


class Parameters(ctypes.Structure):
    _fields_ = [("threads", ctypes.c_int32), ("ftype", ctypes.c_int32), ("rest", ctypes.c_uint8 * 120)]


def main(folder: str, source: str, target: str, ftype: str) -> None:
    for name in ("libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"):
        library = ctypes.CDLL(str(Path(folder) / name), mode=ctypes.RTLD_GLOBAL)
    library.llama_backend_init()
    library.llama_model_quantize_default_params.restype = Parameters
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = int(ftype)
    parameters.threads = 1
    code = library.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters))
    sys.exit(code)


main(*sys.argv[1:])
