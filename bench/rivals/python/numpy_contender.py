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
    raise Unsupported(f"no {kernel} in NumPy")


serve({"name": "numpy", "version": np.__version__, "isa": "by its own dispatch"}, prepare)
