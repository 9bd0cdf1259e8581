"""Cases of bench.py: masks beside torch.topk, CSR products beside torch.sparse (cuSPARSE), codes, long vectors."""
import torch


def cases(dev, d, quick):
    r = lambda *s: torch.rand(*s, device=d).sub_(0.5)
    e = lambda *s, t=torch.float32: torch.full(s, 77, device=d).to(t)
    u8, i8, i32 = torch.uint8, torch.int8, torch.int32
    n = 1 << 12 if quick else 100_000_000
    x, mask = r(n), e((n + 7) // 8, t=u8)
    for share in (10, 2):
        k = n // share
        yield f'top-k mask 1/{share}', 'topk_mask', dict(scores=x, k=k, magnitude=True, mask=mask), lambda k=k: torch.topk(x.abs(), k, sorted=False), [], 4 * n, 0
    yield 'threshold mask', 'threshold_mask', dict(scores=x, threshold=0.2, magnitude=True, mask=mask), lambda: x.abs() >= 0.2, [], 33 * n // 8, 0
    yield '2:4 mask', 'nm_mask', dict(scores=x, n=2, m=4, magnitude=True, mask=mask), None, [], 33 * n // 8, 0
    bits = torch.randint(0, 256, ((n + 7) // 8,), device=d, dtype=u8)
    yield 'apply mask', 'mask_apply', dict(x=x, mask=bits, y=e(n)), None, [], 65 * n // 8, 0
    y, dot = r(n), e(t=torch.float64)
    yield 'inner product', 'inner_product', dict(a=x, b=y, y=dot), lambda: torch.dot(x, y), [], 8 * n, 0
    yield 'axpby', 'axpby', dict(y=y, x=x, alpha=0.5, beta=0.5), lambda: torch.add(y, x, alpha=0.5), [], 12 * n, 0
    del x, y, mask, bits
    side = 128 if quick else 4096
    for zeros in (80, 90, 95):
        w = torch.where(torch.rand(side, side, device=d) * 100 >= zeros, r(side, side), torch.zeros(side, side, device=d))
        csr = w.to_sparse_csr()
        values, indptr, columns = csr.values(), csr.crow_indices().to(i32), csr.col_indices().to(i32)
        nnz = values.numel()
        narrow = columns.to(torch.uint16) if hasattr(torch, 'uint16') else columns
        codes, scale = torch.randint(-127, 128, (nnz,), device=d, dtype=i8), r(side)
        for m in (1, 128, 1024):
            if quick and m > 128: continue
            v = r(side, m)
            fields = dict(indptr=indptr, columns=narrow, y=e(side, m))
            size = nnz * (values.element_size() + narrow.element_size()) + 8 * side * m
            yield f'csr {zeros} % N {m}', 'csr_multiply', dict(values=values, x=v, **fields), lambda csr=csr, v=v: csr @ v, ['y'], size, 2 * nnz * m
            yield f'csr i8 {zeros} % N {m}', 'csr_multiply', dict(values=codes, scale=scale, x=v, **fields), lambda w=w, v=v: w @ v, [], size - 3 * nnz, 2 * nnz * m
            rows = r(m, side)
            fields['y'] = e(m, side)
            yield f'csr linear {zeros} % N {m}', 'csr_linear', dict(values=values, x=rows, **fields), lambda w=w, rows=rows: rows @ w.t(), ['y'], size, 2 * nnz * m
    rows, cols = (16, 256) if quick else (4096, 16384)
    n = rows * cols
    x, q, scale = r(rows, cols), torch.randint(-8, 8, (rows, cols), device=d, dtype=i8), torch.full((rows, 1), 0.01, device=d)
    zero, f = torch.zeros(rows, device=d, dtype=i32), torch.empty(rows, cols, device=d)
    lo, hi = e(rows, 1), e(rows, 1)
    yield 'range rows', 'range_rows', dict(x=x, groups=1, lo=lo, hi=hi), lambda: torch.aminmax(x, dim=1), [], 4 * n, 0
    lo, hi = e(rows, cols // 128), e(rows, cols // 128)
    yield 'range runs of 128', 'range_rows', dict(x=x, groups=cols // 128, lo=lo, hi=hi), lambda: torch.aminmax(x.view(-1, 128), dim=1), [], 4 * n, 0
    yield 'quantize rows', 'quantize_rows', dict(x=x, scale=scale, qmin=-128, qmax=127, q=e(rows, cols, t=i8)), None, [], 5 * n, 0
    yield 'dequantize rows', 'dequantize_rows', dict(q=q, scale=scale, x=f), lambda: q * scale, ['x'], 5 * n, 0
    yield 'fake quantize', 'fake_quantize_rows', dict(x=x, scale=scale, qmin=-8, qmax=7, y=f), lambda: torch.fake_quantize_per_channel_affine(x, scale[:, 0], zero, 0, -8, 7), ['y'], 8 * n, 0
    grad = dict(x=x, dy=r(rows, cols), scale=scale, qmin=-8, qmax=7, dx=f, dscale=e(rows, 1))
    yield 'fake quantize gradient', 'fake_quantize_rows_grad', dict(learned=False, **grad), None, [], 12 * n, 0
    yield 'the same, learned scale', 'fake_quantize_rows_grad', dict(learned=True, **grad), None, [], 12 * n, 0
    yield 'pack 4 bits', 'pack_bits', dict(q=q, bits=4, packed=e(n // 2, t=u8)), None, [], 3 * n // 2, 0
    yield 'histogram', 'histogram', dict(x=x, lo=-0.5, hi=0.5, bins=2048, counts=e(2048, t=torch.int64)), lambda: torch.histc(x, 2048, -0.5, 0.5), [], 4 * n, 0
