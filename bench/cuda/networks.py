"""Cases of bench.py for what networks train with: rows, norms, optimizers, the convolutions of ResNet-20 (batch 128) and ResNet-50, attention and its
gradient, an LSTM layer, tables. Same form as bench.cases."""
import torch
import torch.nn.functional as F


def convolutions(d, quick, r):
    aten = torch.ops.aten.convolution_backward
    shapes = [(128, 16, 32, 16, 3, 1), (128, 16, 32, 32, 3, 2), (128, 32, 16, 32, 3, 1), (128, 64, 8, 64, 3, 1), (64, 64, 56, 64, 3, 1), (64, 256, 14, 256, 3, 1), (64, 256, 56, 64, 1, 1)]
    for b, c, h, o, k, s in [(2, 9, 8, 11, 3, 2)] if quick else shapes:
        x, w, pad = r(b, c, h, h), r(o, c, k, k), k // 2
        dy = torch.randn_like(F.conv2d(x, w, None, s, pad))
        flops, where = 2 * dy.numel() * c * k * k, dict(stride=[s, s], padding=[pad, pad])
        size, name = 4 * (x.numel() + dy.numel() + w.numel()), f'{c}x{h} o{o} k{k} s{s}'
        back = lambda mask, x=x, w=w, dy=dy, s=s, pad=pad: aten(dy, x, w, None, (s, s), (pad, pad), (1, 1), False, (0, 0), 1, mask)
        yield f'conv {name}', 'conv2d', dict(x=x, w=w, y=torch.empty_like(dy), **where), lambda x=x, w=w, s=s, pad=pad: F.conv2d(x, w, None, s, pad), ['y'], size, flops
        dx, dw = torch.empty_like(x), torch.empty_like(w)
        yield f'  its dx', 'conv2d_grad_input', dict(dy=dy, w=w, input_shape=list(x.shape), dx=dx, **where), lambda back=back: back((True, False, False))[0], ['dx'], size, flops
        yield f'  its dw', 'conv2d_grad_weight', dict(x=x, dy=dy, weight_shape=list(w.shape), dw=dw, **where), lambda back=back: back((False, True, False))[1], ['dw'], size, flops
    b, c, h = (2, 4, 6) if quick else (64, 128, 56)
    x, w = r(b, c, h, h), r(c, 1, 3, 3)
    fields = dict(x=x, w=w, stride=[1, 1], padding=[1, 1, 1, 1], dilation=[1, 1], groups=c, y=torch.empty_like(x))
    yield 'depthwise 3x3', 'conv2d_grouped', fields, lambda: F.conv2d(x, w, None, 1, 1, 1, c), ['y'], 8 * x.numel(), 18 * x.numel()


def rows(d, quick, r):
    m, n = (16, 40) if quick else (1 << 16, 1000)
    x, dy, labels = r(m, n), r(m, n), torch.randint(0, n, (m,), device=d)
    size, up, fields = 4 * m * n, r(m), dict(logits=x, labels=labels.int(), dlogits=r(m, n))
    onehot = F.one_hot(labels, n)
    yield 'cross entropy gradient', 'cross_entropy_grad', dict(dy=up, **fields), lambda: (torch.softmax(x, 1) - onehot) * up[:, None], ['dlogits'], 2 * size, 0
    gamma, beta = r(n), r(n)
    _, mean, rstd = torch.native_layer_norm(x, (n,), gamma, beta, 1e-5)
    back = lambda: torch.ops.aten.native_layer_norm_backward(dy, x, (n,), mean, rstd, gamma, beta, (True, True, True))[0]
    fields = dict(x=x, gamma=gamma, mean=mean.flatten(), rstd=rstd.flatten(), dy=dy, dx=r(m, n), dgamma=r(n), dbeta=r(n))
    yield 'layer norm gradient', 'layer_norm_grad', fields, back, ['dx'], 3 * size, 0
    shape = (4, 3, 5, 5) if quick else (128, 64, 56, 56)
    c, xb, db = shape[1], r(*shape), r(*shape)
    g, b, size = r(c), r(c), 4 * xb.numel()
    fields = dict(x=xb, gamma=g, beta=b, eps=1e-5, relu=True, y=torch.empty_like(xb), mean=r(c), variance=r(c))
    yield 'batch norm relu', 'batch_norm', fields, lambda: torch.relu_(F.batch_norm(xb, None, None, g, b, True)), ['y'], 2 * size, 0
    variance, mean = torch.var_mean(xb, (0, 2, 3), unbiased=False)
    back = lambda: torch.ops.aten.native_batch_norm_backward(db, xb, g, None, None, mean, (variance + 1e-5).rsqrt(), True, 1e-5, (True, True, True))[0]
    fields = dict(x=xb, gamma=g, mean=mean, variance=variance, dy=db, eps=1e-5, residual=False, dx=torch.empty_like(xb), dgamma=r(c), dbeta=r(c), dresidual=r(0))
    yield 'batch norm gradient', 'batch_norm_grad', fields, back, ['dx'], 3 * size, 0


def optimizers(d, quick, r):
    n = 1000 if quick else 100_000_000
    p, g, m, v = torch.nn.Parameter(r(n)), r(n), r(n) * 0, r(n) * 0
    q = torch.nn.Parameter(r(n))
    q.grad = g
    torch_step = lambda made: made.step if d == 'cuda' else None
    fused = dict(fused=True) if d == 'cuda' else {}
    fields = dict(p=p.data, g=g, m=m, v=v, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, step=2)
    yield 'adamw', 'adamw_step', fields, torch_step(torch.optim.AdamW([q], 1e-3, **fused)), [], 28 * n, 0
    mask = torch.randint(0, 256, (n // 8,), device=d).to(torch.uint8)
    yield 'adamw masked', 'adamw_step', dict(mask=mask, **fields), None, [], 28 * n + n // 8, 0
    fields = dict(p=p.data, g=g, velocity=m, lr=1e-3, momentum=0.9, weight_decay=1e-4, nesterov=False)
    yield 'sgd', 'sgd_step', fields, torch_step(torch.optim.SGD([q], 1e-3, momentum=0.9, weight_decay=1e-4, foreach=True) if d == 'cuda' else torch.optim.SGD([q], 1e-3)), [], 20 * n, 0


def attentions(d, quick, r):
    if not hasattr(F, 'scaled_dot_product_attention'): return
    b, h, t, w = (1, 2, 20, 8) if quick else (8, 12, 1024, 64)
    q, k, v = (r(b, h, t, w).requires_grad_() for _ in range(3))
    dy = r(b, h, t, w)
    for name, causal in (('attention', False), ('attention causal', True)):
        run = lambda causal=causal: F.scaled_dot_product_attention(q, k, v, None, 0.0, causal)
        y, scores = run(), (q @ k.transpose(2, 3)).detach() * w**-0.5
        lse = torch.logsumexp(scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -1e30) if causal else scores, 3)
        del scores
        given = dict(q=q.detach(), k=k.detach(), v=v.detach(), heads=h, scale=w**-0.5, causal=causal, dropout=0, seed=1, stream=0)
        flops, size = 2 * b * h * t * t * w * (0.5 if causal else 1), 16 * b * h * t * w
        yield name, 'attention', dict(y=torch.empty_like(dy), lse=torch.empty_like(lse), **given), lambda run=run: run().detach(), ['y'], size, 2 * flops
        fields = dict(y=y.detach(), lse=lse, dy=dy, dq=torch.empty_like(dy), dk=torch.empty_like(dy), dv=torch.empty_like(dy), **given)
        yield f'{name} gradient', 'attention_grad', fields, lambda y=y: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)[0], ['dq'], 2 * size, 5 * flops  # of seven done
    fields = dict(y=torch.empty_like(dy), lse=torch.empty_like(lse), **{**given, 'causal': False, 'dropout': 0.1})
    yield 'attention dropout', 'attention', fields, lambda: F.scaled_dot_product_attention(q, k, v, None, 0.1).detach(), [], size, 4 * b * h * t * t * w


def sequences(d, quick, r):
    t, b, h = (3, 2, 5) if quick else (35, 20, 650)
    net, x = torch.nn.LSTM(h, h).to(d), r(t, b, h)
    with torch.no_grad(): bias = net.bias_ih_l0 + net.bias_hh_l0
    e = lambda *s: torch.empty(*s, device=d)
    fields = dict(x=x, w_ih=net.weight_ih_l0.data, w_hh=net.weight_hh_l0.data, bias=bias, reverse=False, states=e(t + 2, b, h), gates=e(t, b, 4 * h), cells=e(t, b, h), previous=e(t, b, h))
    flops = 2 * t * b * 4 * h * 2 * h

    def run():
        with torch.no_grad():
            y, (hn, cn) = net(x)
            return torch.cat([y, hn, cn])

    yield 'lstm', 'lstm', fields, run, ['states'], 0, flops
    given = {k: fields[k] for k in ('x', 'w_ih', 'w_hh', 'gates', 'cells', 'previous')}
    fields = dict(dstates=r(t + 2, b, h), reverse=False, dx=e(t, b, h), dw_ih=e(4 * h, h), dw_hh=e(4 * h, h), dbias=e(4 * h), dh0=e(b, h), dc0=e(b, h), **given)
    yield 'lstm gradient', 'lstm_grad', fields, None, [], 0, 2 * flops


def tables(d, quick, r):
    rows_, width, n = (50, 8, 30) if quick else (30522, 768, 16384)
    table, index, dy = r(rows_, width), torch.randint(0, rows_, (n,), device=d), r(n, width)
    yield 'gather', 'gather', dict(table=table, index=index.int(), y=r(n, width)), lambda: table[index], ['y'], 8 * n * width, 0
    fields = dict(dy=dy, index=index.int(), rows=rows_, dtable=r(rows_, width))
    yield 'scatter_add', 'scatter_add', fields, lambda: torch.ops.aten.embedding_dense_backward(dy, index, rows_, -1, False), ['dtable'], 4 * (n + rows_) * width, 0
    x, k = r(4 if quick else 64, rows_), 5 if quick else 50
    fields = dict(x=x, k=k, largest=True, y=r(x.shape[0], k), index=torch.zeros(x.shape[0], k, device=d, dtype=torch.int32))
    yield 'top_k', 'top_k', fields, lambda: torch.topk(x, k)[0], ['y'], 4 * x.numel(), 0


def cases(d, quick):
    r = lambda *s: torch.rand(*s, device=d).sub_(0.5)
    for part in (rows, optimizers, convolutions, attentions, sequences, tables): yield from part(d, quick, r)
