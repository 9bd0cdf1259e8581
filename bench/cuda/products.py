"""Cases of bench.py for products: int8 by every path of the device beside torch._int_mm, with the fused epilogue beside torch's kernels one after another, weight-only 4 and 8 bits
at few rows (share: of the copy bandwidth, by the bytes of the codes). Same form as bench.cases; `paths` sets TERSOR_CUDA_PATHS for the case."""
import torch


def int_mm(d):
    return torch._int_mm if d == 'cuda' else lambda a, b: (a.double() @ b.double()).int()


def int8(dev, d, quick):
    mm, codes = int_mm(d), lambda *s: torch.randint(-127, 128, s, device=d, dtype=torch.int8)
    for m, n, k in [(32, 40, 64)] if quick else [(4096, 4096, 4096), (8192, 8192, 8192), (128, 3072, 768), (128, 768, 3072), (16, 4096, 4096)]:
        x, w = codes(m, k), codes(n, k)
        packed = torch.empty(64 + (4 * n + 63) // 64 * 64 + n * ((k + 63) // 64 * 64), device=d, dtype=torch.uint8)
        dev.call('qgemm_pack', w=w, packed=packed)()
        dev.synchronize()
        size, flops, name = m * k + n * k, 2 * m * n * k, f'{m}x{n}x{k}'
        for paths in ('mma', 'wgmma', 'wgmma2') if m >= 4096 else ('wgmma',):
            y = torch.empty(m, n, device=d, dtype=torch.int32)
            rival = lambda x=x, w=w: mm(x, w.t())
            yield f'int8 {name} {paths}', 'qgemm_s32', dict(x=x, packed=packed, out=n, x_zero=0, y=y, paths=paths), rival if m > 16 else None, ['y'], size + 4 * m * n, flops
        scales, weights, bias = (torch.rand(s, device=d) * 0.01 + 0.001 for s in (m, n, n))
        unfused = lambda x=x, w=w, s=scales, v=weights, b=bias: torch.relu(mm(x, w.t()).float() * (s[:, None] * v) + b)
        fields = dict(x=x, packed=packed, w_scale=weights, bias=bias, x_scales=scales, out=n, x_scale=1, x_zero=0, act='relu', dtype='f32', y_scale=1, y_zero=0, y=torch.empty(m, n, device=d))
        yield f'  fused epilogue', 'qmatmul', fields, unfused if m > 16 else None, ['y'], size + 4 * m * n, flops
        f = torch.randn(m, k, device=d)
        fields = dict(x=f, packed=packed, w_scale=weights, bias=bias, out=n, symmetric=True, act='gelu', y=torch.empty(m, n, device=d))
        yield f'  dynamic, gelu', 'qlinear_dynamic', fields, None, [], 4 * m * k + n * k + 4 * m * n, flops


def weight_only(dev, d, quick):
    n, k, group = (160, 256, 128) if quick else (16384, 16384, 128)
    for bits in (4, 8):
        q = torch.randint(-(1 << bits - 1), 1 << bits - 1, (n, k), device=d, dtype=torch.int8)
        scale = torch.rand(n, k // group, device=d) * 0.01 + 0.001
        packed = torch.empty(64 + n * k * bits // 8 + 4 * scale.numel(), device=d, dtype=torch.uint8)
        dev.call('wgemm_pack', q=q, scale=scale, bits=bits, packed=packed)()
        dev.synchronize()
        w = (q.float().view(n, -1, group) * scale[:, :, None]).view(n, k)
        for m in (1, 4, 8, 16):
            x = torch.randn(m, k, device=d)
            fields = dict(x=x, packed=packed, out=n, act='none', y=torch.empty(m, n, device=d))
            yield f'weights {bits} bits, {m} rows', 'wgemm', fields, lambda x=x, w=w: x @ w.t(), ['y'], packed.numel() + 4 * m * (n + k), 2 * m * n * k


def few_rows(d, quick):
    n, k = (64, 96) if quick else (16384, 8192)
    x, w = torch.randn(4, k, device=d), torch.randn(n, k, device=d)
    yield 'linear f32, 4 rows', 'linear', dict(x=x, w=w, y=torch.empty(4, n, device=d)), lambda: x @ w.t(), ['y'], 4 * n * k, 8 * n * k


def cases(dev, d, quick):
    yield from int8(dev, d, quick)
    yield from weight_only(dev, d, quick)
    yield from few_rows(d, quick)
