"""Writes torch-transformer.json: encoder and decoder layers of PyTorch on values that the test makes by the same formula.

    python3 test/golden/make-torch-transformer.py > test/golden/torch-transformer.json      # made with torch 1.13.1
"""
import json

import torch

torch.set_num_threads(1)
W, H, F = 8, 2, 12


def wave(shape, seed, scale=0.5):
    n = 1
    for d in shape:
        n *= d
    return (torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + seed) * scale).reshape(shape)


def fill(module):
    with torch.no_grad():
        for i, (_, p) in enumerate(sorted(module.named_parameters())):
            p.copy_(wave(tuple(p.shape), i))
    return module.double().eval()


def flat(t):
    return [round(v, 10) for v in t.detach().flatten().tolist()]


out = {}
x, memory = wave((2, 3, W), 20, 1.0), wave((2, 4, W), 21, 1.0)
padding = torch.tensor([[False, False, False], [False, False, True]])
memory_padding = torch.tensor([[False, False, False, False], [False, True, True, False]])
for norm in ("pre", "post"):
    args = dict(d_model=W, nhead=H, dim_feedforward=F, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm == "pre")
    layer = fill(torch.nn.TransformerEncoderLayer(**args).train())
    layer.train()
    a = x.clone().requires_grad_()
    y = layer(a, src_key_padding_mask=padding)
    (y * wave(y.shape, 30, 1.0)).sum().backward()
    out[f"encoder {norm}"] = {"y": flat(y), "dx": flat(a.grad), "dup": flat(layer.linear1.weight.grad)}
    layer = fill(torch.nn.TransformerDecoderLayer(**args).train())
    layer.train()
    a, b = x.clone().requires_grad_(), memory.clone().requires_grad_()
    causal = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
    y = layer(a, b, tgt_mask=causal, memory_key_padding_mask=memory_padding)
    (y * wave(y.shape, 30, 1.0)).sum().backward()
    out[f"decoder {norm}"] = {"y": flat(y), "dx": flat(a.grad), "dmemory": flat(b.grad)}
print(json.dumps(out))
