"""SciPy: CSR matrix times dense matrix or vector. DEBIAN: python3-scipy"""
import numpy as np
import scipy
import scipy.sparse

from contender import Unsupported, floats, serve, sparse_floats


def prepare(kernel, threads, p):
    if kernel != "spmm.f32":
        raise Unsupported(f"no {kernel} in this driver of SciPy")
    if threads > 1:
        raise Unsupported("SciPy's sparse product has one thread")
    w = scipy.sparse.csr_matrix(sparse_floats((p["m"], p["k"]), 33, p["sparsity"]))
    x = floats((p["k"], p["n"]), 22)
    x = x[:, 0].copy() if p["n"] == 1 else x
    return [lambda: w @ x], np.abs((w @ x).astype(np.float64)).sum()


serve({"name": "scipy", "version": scipy.__version__, "isa": "scalar"}, prepare)
