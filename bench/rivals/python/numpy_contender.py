"""NumPy: dense product (its BLAS) and the top-k mask through numpy.partition. DEBIAN: python3-numpy"""
import numpy as np

from contender import Unsupported, bell_floats, floats, serve


def prepare(kernel, threads, p):
    if kernel == "topk":
        if threads > 1:
            raise Unsupported("numpy.partition has one thread")
        x, n = bell_floats(p["n"], 44), p["n"]
        k = int(n * p["keep"])

        def mask():
            a = np.abs(x)
            return a >= np.partition(a, n - k)[n - k]

        return [mask], mask().sum()
    if kernel.startswith("quant."):
        if threads > 1:
            raise Unsupported("NumPy's elementwise functions have one thread")
        x = floats((p["rows"], p["cols"]), 22)
        scale = np.full((p["rows"], 1), 1 / 127, np.float32)
        codes = np.rint(x / scale).clip(-127, 127).astype(np.int8)
        calls = {
            "quant.range": lambda: (x.min(1), x.max(1)),
            "quant.quantize": lambda: np.rint(x * np.float32(127)).clip(-127, 127).astype(np.int8),
            "quant.dequantize": lambda: codes * scale,
            "quant.histogram": lambda: np.histogram(x, 2048, (-1, 1)),
        }
        return [calls[kernel]], None
    raise Unsupported(f"no {kernel} in NumPy")


serve({"name": "numpy", "version": np.__version__, "isa": "by its own dispatch"}, prepare)
