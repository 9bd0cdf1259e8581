#!/usr/bin/env python3
"""Kernels of the CUDA library beside PyTorch, one process, no Node: the library's table of functions is called through ctypes, argument structs are laid out
from native/ops/ops.def, and both sides work on the very same tensors.

    python3 bench/cuda/bench.py --library build-gpu/Release/tersor_cuda.so [--json FILE] [--filter TEXT] [--quick]
    python3 bench/cuda/bench.py --library build-cuda/Release/tersor_cuda_emulated.so --device cpu --quick      (do the cases run; times mean nothing)

Time: medians of rounds of enough calls, both contenders in turns, inputs larger than the L2 or rotated. Share: of the time that the bytes would take at the copy
bandwidth measured in the same run. Every case is compared with PyTorch before it is timed. The JSON is written again after every case, so that what was measured stays where a later
case hangs. TERSOR_CUDA_PATHS=mma leaves out the cases that ask for other paths; clusters (wgmma2) come last.
"""
import argparse, ctypes as c, itertools, json, os, re, statistics, sys, time
import torch
import networks, products, sparse

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DTYPES = re.findall(r'^TERSOR_DTYPE\((\w+),', open(f'{ROOT}/native/base/dtype.def').read(), re.M)
ENUMS = {m[0]: [v.strip() for v in m[1].split(',')] for m in re.findall(r'^TERSOR_ENUM\((\w+),\s*([^)]*)\)', open(f'{ROOT}/native/ops/enums.def').read(), re.M)}
ROWS = {m[0]: re.findall(r'([TOMRIFBLDE])\(([^)]*)\)', m[1]) for m in re.findall(r'^OP\((\w+),\s*(.*)\)\s*$', open(f'{ROOT}/native/ops/ops.def').read(), re.M)}
NAMES = {torch.float64: 'f64', torch.float32: 'f32', torch.float16: 'f16', torch.bfloat16: 'bf16', torch.int64: 'i64', torch.int32: 'i32', torch.int16: 'i16', torch.int8: 'i8', torch.uint8: 'u8', torch.bool: 'b8'}
if hasattr(torch, 'uint16'): NAMES[torch.uint16] = 'u16'


class Status(c.Structure):
    _fields_ = [('code', c.c_int32), ('message', c.c_char * 252)]


class Tensor(c.Structure):
    _fields_ = [('data', c.c_void_p), ('owner', c.c_void_p), ('shape', c.c_int64 * 8), ('stride', c.c_int64 * 8), ('rank', c.c_int32), ('dtype', c.c_int32)]


class List(c.Structure):
    _fields_ = [('v', c.c_int64 * 8), ('n', c.c_int32)]


KINDS = {'T': Tensor, 'O': Tensor, 'M': Tensor, 'R': Tensor, 'I': c.c_int64, 'F': c.c_double, 'B': c.c_bool, 'L': List, 'D': c.c_int32, 'E': c.c_int64}
KERNEL = c.CFUNCTYPE(Status, c.c_void_p, c.c_void_p)


class Backend(c.Structure):
    _fields_ = [('abi', c.c_uint32), ('bytes', c.c_uint32), ('hash', c.c_uint64), ('name', c.c_char_p), ('build', c.c_char_p)] + [
        (name, c.c_void_p) for name in ('count', 'describe', 'health', 'open', 'close', 'synchronize', 'allocate', 'release', 'upload', 'download', 'copy', 'fill', 'kernel')]


def must(status):
    if status.code: raise RuntimeError(status.message.decode())


def tensor(t):
    r = Tensor(t.data_ptr(), t.data_ptr(), rank=t.dim(), dtype=DTYPES.index(NAMES[t.dtype]))
    for i in range(t.dim()): r.shape[i], r.stride[i] = t.shape[i], t.stride(i)
    return r


class Device:
    def __init__(self, path):
        library = c.CDLL(os.path.abspath(path))
        library.tersor_backend.restype = c.POINTER(Backend)
        self.table = library.tersor_backend().contents
        self.stream = c.c_void_p()
        must(c.CFUNCTYPE(Status, c.c_int32, c.POINTER(c.c_void_p))(self.table.open)(0, c.byref(self.stream)))
        self.wait = c.CFUNCTYPE(Status, c.c_void_p)(self.table.synchronize)
        self.find = c.CFUNCTYPE(c.c_void_p, c.c_char_p, c.c_char_p)(self.table.kernel)

    def synchronize(self): must(self.wait(self.stream))

    def call(self, op, **given):
        """A function of no arguments that queues the op. Results are given tensors too; an optional tensor may be missing. The library's stream does not wait for PyTorch's: what
        is on its way there, making the inputs, is waited for here."""
        if torch.cuda.is_available(): torch.cuda.synchronize()
        row = ROWS[op]
        args_type = type(f'{op}_args', (c.Structure,), {'_fields_': [(name.split(',')[-1].strip(), KINDS[kind]) for kind, name in row]})
        args, signature = args_type(), []
        for kind, name in row:
            field = name.split(',')[-1].strip()
            value = given.pop(field, None)
            if kind in 'TOM': signature.append('-' if value is None else NAMES[value.dtype])
            if value is None: continue
            if kind in 'TOMR': value = tensor(value)
            elif kind == 'L': value = List((c.c_int64 * 8)(*value), len(value))
            elif kind == 'D': value = DTYPES.index(value)
            elif kind == 'E': value = ENUMS[name.split(',')[0].strip()].index(value)
            setattr(args, field, value)
        if given: raise KeyError(f'{op} has no field {list(given)}')
        address = self.find(op.encode(), ','.join(signature).encode())
        if not address: return None
        kernel, keep = KERNEL(address), args
        return lambda: must(kernel(self.stream, c.addressof(keep)))


def seconds(run, wait, least):
    run(); wait()
    calls, begin = 1, time.perf_counter()
    run(); wait()
    calls = max(1, int(least / max(time.perf_counter() - begin, 1e-6)))
    begin = time.perf_counter()
    for _ in range(calls): run()
    wait()
    return (time.perf_counter() - begin) / calls


def cases(dev, d, quick):
    """(name, op, fields, torch's function of no arguments, result fields to compare, bytes, flops)"""
    n = 1 << 12 if quick else 1 << 27
    rows, cols = (16, 64) if quick else (1 << 15, 4096)
    r = lambda *s, t=torch.float32: torch.rand(*s, device=d, dtype=torch.float32).sub_(0.5).to(t)
    e = lambda *s, t=torch.float32: torch.full(s, 77, device=d).to(t)
    x, y, z = r(n), r(n), e(n)
    m, v, o = r(rows, cols), r(cols), e(rows, cols)
    size = 4 * rows * cols
    yield 'add', 'add', dict(a=x, b=y, y=z), lambda: torch.add(x, y, out=z), ['y'], 12 * n, n
    yield 'add bias', 'add', dict(a=m, b=v, y=o), lambda: torch.add(m, v, out=o), ['y'], 2 * size, 0
    yield 'add transposed', 'add', dict(a=m, b=r(cols, rows).t(), y=o), None, [], 3 * size, 0
    yield 'exp', 'exp', dict(x=x, y=z), lambda: torch.exp(x, out=z), ['y'], 8 * n, 0
    yield 'gelu', 'gelu', dict(x=x, y=z), lambda: torch.nn.functional.gelu(x), ['y'], 8 * n, 0
    yield 'silu gradient', 'nonlinear_grad', dict(x=x, dy=y, kind='silu', p=0, q=0, dx=z), None, [], 12 * n, 0
    h = e(n, t=torch.float16)
    yield 'cast f32 to f16', 'cast', dict(x=x, dtype='f16', y=h), lambda: x.to(torch.float16), ['y'], 6 * n, 0
    yield 'copy transposed', 'copy', dict(x=m.t(), y=e(cols, rows)), lambda: m.t().contiguous(), ['y'], 2 * size, 0
    yield 'sum of rows', 'sum', dict(x=m, axes=[1], keep_dims=False, y=e(rows)), lambda: m.sum(1), ['y'], size, 0
    yield 'sum of columns', 'sum', dict(x=m, axes=[0], keep_dims=False, y=e(cols)), lambda: m.sum(0), ['y'], size, 0
    yield 'sum of all', 'sum', dict(x=x, axes=[], keep_dims=False, y=e()), lambda: x.sum(), ['y'], 4 * n, 0
    yield 'amax of rows', 'amax', dict(x=m, axes=[1], keep_dims=False, y=e(rows)), lambda: m.amax(1), ['y'], size, 0
    yield 'argmax', 'argmax', dict(x=m, y=e(rows, t=torch.int32)), lambda: m.argmax(1).int(), ['y'], size, 0
    yield 'cumsum', 'cumsum', dict(x=m, axis=1, exclusive=False, reverse=False, y=o), lambda: torch.cumsum(m, 1), ['y'], 2 * size, 0
    yield 'uniform', 'random_uniform', dict(shape=[n], seed=1, stream=2, y=z), lambda: z.uniform_(), [], 4 * n, 0
    yield 'normal', 'random_normal', dict(shape=[n], seed=1, stream=2, y=z), lambda: z.normal_(), [], 4 * n, 0
    yield 'softmax', 'softmax', dict(x=m, y=o), lambda: torch.softmax(m, -1), ['y'], 2 * size, 0
    g, b, mean, rstd = r(cols), r(cols), e(rows), e(rows)
    yield 'layer norm', 'layer_norm', dict(x=m, gamma=g, beta=b, eps=1e-5, y=o, mean=mean, rstd=rstd), lambda: torch.nn.functional.layer_norm(m, (cols,), g, b), ['y'], 2 * size, 0
    k = 64 if quick else 4096
    p, q = r(k, k), r(k, k)
    yield 'matmul f32', 'matmul', dict(a=p, b=q, transpose_a=False, transpose_b=True, y=e(k, k)), lambda: p @ q.t(), ['y'], 12 * k * k, 2 * k**3
    for t in (torch.bfloat16, torch.float16):
        ph, qh = r(k, k, t=t), r(k, k, t=t)
        yield f'matmul {NAMES[t]}', 'matmul_half', dict(a=ph, b=qh, transpose_a=False, transpose_b=True, dtype=NAMES[t], y=e(k, k, t=t)), lambda ph=ph, qh=qh: ph @ qh.t(), ['y'], 6 * k * k, 2 * k**3
    B, T, H, D = (1, 32, 2, 64) if quick else (8, 2048, 16, 64)
    qa, ka, va = r(B, H, T, D), r(B, H, T, D), r(B, H, T, D)
    yield 'attention', 'attention', dict(q=qa, k=ka, v=va, heads=H, scale=D**-0.5, causal=False, dropout=0, seed=0, stream=0, y=e(B, H, T, D), lse=e(B, H, T)), (
        lambda: torch.nn.functional.scaled_dot_product_attention(qa, ka, va)) if hasattr(torch.nn.functional, 'scaled_dot_product_attention') else None, ['y'], 16 * B * H * T * D, 4 * B * H * T * T * D
    C, S = (8, 8) if quick else (128, 56)
    xi, wi = r(4 if quick else 32, C, S, S), r(C, C, 3, 3)
    yield 'conv2d 3x3', 'conv2d', dict(x=xi, w=wi, stride=[1, 1], padding=[1, 1], y=torch.empty_like(xi)), lambda: torch.nn.functional.conv2d(xi, wi, padding=1), ['y'], 8 * xi.numel(), 2 * xi.numel() * C * 9


def guarded(name, generator, failed):
    """What a generator gives; where making a case fails, that is noted and the generator ends."""
    try:
        yield from generator
    except Exception as error:
        failed(f'cases of {name}', error)


def clusters_last(cases):
    late = []
    for case in cases:
        if case[2].get('paths') == 'wgmma2': late.append(case)
        else: yield case
    yield from late


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--library', required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--json')
    parser.add_argument('--filter', default='')
    parser.add_argument('--quick', action='store_true')
    a = parser.parse_args()
    dev = Device(a.library)
    gpu = a.device == 'cuda'
    if gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    wait_torch = torch.cuda.synchronize if gpu else (lambda: None)
    least, rounds = (0.001, 1) if a.quick else (0.03, 7)
    from_, to = (torch.rand(1 << 12 if a.quick else 1 << 29, device=a.device) for _ in range(2))
    copy = statistics.median(seconds(lambda: to.copy_(from_), wait_torch, least) for _ in range(rounds))
    bandwidth = 8 * from_.numel() / copy
    del from_, to
    rows, forced = [], os.environ.get('TERSOR_CUDA_PATHS', '')
    about = dict(library=a.library, build=dev.table.build.decode(), copy_gbytes_per_second=bandwidth / 1e9, torch=torch.__version__, device=torch.cuda.get_device_name(0) if gpu else 'emulated', paths=forced)

    def save(complete=False):
        if not a.json: return
        with open(a.json + '.part', 'w') as f: json.dump(dict(about=about, complete=complete, cases=rows), f, indent=1)
        os.replace(a.json + '.part', a.json)

    def note(name, error):
        rows.append(dict(name=name, failed=f'{type(error).__name__}: {error}'))
        print(f'{name:22} FAILED: {error}', flush=True)

    print(f'copy bandwidth {bandwidth / 1e9:.0f} GB/s, {dev.table.build.decode()}')
    print(f'{"case":22} {"ms":>9} {"torch ms":>9} {"ratio":>6} {"GB/s":>7} {"share":>6} {"TFLOP/s":>8}')
    families = dict(memory=cases(dev, a.device, a.quick), products=products.cases(dev, a.device, a.quick), networks=networks.cases(a.device, a.quick), sparse=sparse.cases(dev, a.device, a.quick))
    every = itertools.chain.from_iterable(guarded(name, generator, note) for name, generator in families.items())
    for name, op, fields, rival, results, size, flops in clusters_last(every):
        if a.filter not in name: continue
        paths, row = fields.pop('paths', ''), dict(name=name, op=op)
        if forced and paths not in ('', forced): continue
        os.environ['TERSOR_CUDA_PATHS'] = forced or paths
        try:
            run = dev.call(op, **fields)
            if run is None:
                print(f'{name:22} no kernel'); continue
            wait_torch()
            run(); dev.synchronize()
            got = {f: fields[f].clone() for f in results}
            if rival and results:
                want, half = rival().to(torch.float64), fields[results[0]].dtype in (torch.float16, torch.bfloat16)
                error = ((got[results[0]].to(torch.float64) - want).norm() / want.norm().clamp_min(1e-30)).item()
                row['error'] = error
                if not error < (1e-2 if half else 1e-4): raise RuntimeError(f'differs from PyTorch by {error:.2g}')
            ours, theirs = [], []
            for _ in range(rounds):
                wait_torch()
                ours.append(seconds(run, dev.synchronize, least))
                if rival: theirs.append(seconds(rival, wait_torch, least))
            row['ms'] = 1e3 * statistics.median(ours)
            row['gbytes_per_second'], row['share_of_copy'], row['tflops'] = size / row['ms'] / 1e6, size / bandwidth / row['ms'] * 1e3, flops / row['ms'] / 1e9
            if theirs: row['torch_ms'] = 1e3 * statistics.median(theirs)
            torch_ms = row.get('torch_ms')
            print(f'{name:22} {row["ms"]:9.4f} {torch_ms or 0:9.4f} {torch_ms / row["ms"] if torch_ms else 0:6.2f} {row["gbytes_per_second"]:7.0f} {row["share_of_copy"]:6.2f} {row["tflops"]:8.2f}', flush=True)
            rows.append(row)
        except Exception as error:
            note(name, error)
            if ('cuda:0' in str(error) and 'memory' not in str(error) and 'budget' not in str(error)) or 'CUDA error' in str(error): break  # the context may be gone
        save()
    save(complete=True)
    sys.exit(1 if any('failed' in row for row in rows) else 0)


main()
