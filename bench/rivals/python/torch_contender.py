"""PyTorch: sparse CSR product and top-k. It must share one OpenMP pool with OpenBLAS (libopenblas0-openmp). DEBIAN: python3-torch"""
import warnings

import torch

import torch_encoder
import torch_images
import torch_nets
import torch_steps
from contender import Unsupported, bell_floats, floats, serve, sparse_floats

warnings.filterwarnings("ignore")
torch.set_grad_enabled(False)


def prepare(kernel, threads, p):
    torch.set_num_threads(threads)
    if kernel == "spmm.f32":
        w = torch.from_numpy(sparse_floats((p["m"], p["k"]), 33, p["sparsity"])).to_sparse_csr()
        x = torch.from_numpy(floats((p["k"], p["n"]), 22))
        return [lambda: w @ x], (w @ x).double().abs().sum().item()
    if kernel in ("topk", "topk.kthvalue"):
        x, n = torch.from_numpy(bell_floats(p["n"], 44)), p["n"]
        k = int(n * p["keep"])

        def by_kthvalue():
            a = x.abs()
            return a >= torch.kthvalue(a, n - k + 1).values

        def by_topk():
            mask = torch.zeros(n, dtype=torch.bool)
            mask[torch.topk(x.abs(), k, sorted=False).indices] = True
            return mask

        call = by_topk if kernel == "topk" else by_kthvalue
        return [call], k
    if kernel == "gemm.f32":
        a, b = torch.from_numpy(floats((p["m"], p["k"]), 11)), torch.from_numpy(floats((p["k"], p["n"]), 22))
        return [lambda: a @ b], (a @ b).double().abs().sum().item()
    if kernel.startswith("net."):
        return torch_nets.prepare(kernel, p)
    if kernel == "encoder.step":
        return torch_encoder.prepare(p)
    if kernel == "images.train":
        return torch_images.prepare(p)
    if kernel.startswith(("language.", "eager.")):
        return torch_steps.prepare(kernel, p)
    if kernel.startswith("quant."):
        x = torch.from_numpy(floats((p["rows"], p["cols"]), 22))
        scale, zero = torch.full((p["rows"],), 1 / 127), torch.zeros(p["rows"], dtype=torch.long)
        codes = torch.quantize_per_channel(x, scale, zero, 0, torch.qint8)
        calls = {
            "quant.range": lambda: torch.aminmax(x, dim=1),
            "quant.quantize": lambda: torch.quantize_per_channel(x, scale, zero, 0, torch.qint8),
            "quant.dequantize": lambda: codes.dequantize(),
            "quant.histogram": lambda: torch.histc(x, 2048, -1, 1),
        }
        return [calls[kernel]], None
    raise Unsupported(f"no {kernel} in this driver of PyTorch")


serve({"name": "torch", "version": torch.__version__, "isa": torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") and hasattr(torch.backends.cpu, "get_cpu_capability") else "by its own dispatch"}, prepare)
