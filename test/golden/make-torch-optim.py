"""Weights after 10 steps, for test/optim/torch.test.ts: python3 test/golden/make-torch-optim.py > test/golden/torch-optim.json

torch 1.13 in f64. Two leaves start at wave(0, 6) and wave(1, 4); the gradient of step t of leaf k is wave(10 t + k, n) + 0.1 times the weight.
LAMB, SAM and ASAM, which torch does not have, are written out from the papers (You et al. 2020, algorithm 2; Foret et al. 2021, eq. 2; Kwon et
al. 2021, eq. 10, the second leaf being a bias).
"""
import json
import math
import sys

import torch


def wave(k, n):
    return torch.tensor([math.sin(1.3 * i + k) for i in range(n)], dtype=torch.float64)


def gradient(t, k, w):
    return wave(10 * t + k, w.numel()) + 0.1 * w


def run(make):
    leaves = [wave(0, 6).requires_grad_(), wave(1, 4).requires_grad_()]
    step = make(leaves)
    for t in range(10):
        step(t)
    return [v for w in leaves for v in w.detach().tolist()]


def torch_optimizer(cls, **options):
    def make(leaves):
        o = cls(leaves, **options)

        def step(t):
            for k, w in enumerate(leaves):
                w.grad = gradient(t, k, w.detach())
            o.step()

        return step

    return make


def lamb(lr, decay, eps=1e-6, hi=10.0):
    def make(leaves):
        m = [torch.zeros_like(w) for w in leaves]
        v = [torch.zeros_like(w) for w in leaves]

        def step(t):
            for k, w in enumerate(leaves):
                g = gradient(t, k, w.detach())
                m[k].mul_(0.9).add_(0.1 * g)
                v[k].mul_(0.999).add_(0.001 * g * g)
                r = (m[k] / (1 - 0.9 ** (t + 1))) / ((v[k] / (1 - 0.999 ** (t + 1))).sqrt() + eps) + decay * w.detach()
                ratio = min(w.detach().norm().item(), hi) / r.norm().item()
                w.data.sub_(lr * ratio * r)

        return step

    return make


def sam(rho, adaptive, eta=0.01):
    def make(leaves):
        o = torch.optim.SGD(leaves, lr=0.1, momentum=0.9)

        def step(t):
            before = [w.detach().clone() for w in leaves]
            g = [gradient(t, k, w.detach()) for k, w in enumerate(leaves)]
            scale = [w.abs() + eta if adaptive and k == 0 else torch.ones_like(w) for k, w in enumerate(before)]
            norm = math.sqrt(sum(((s * x) ** 2).sum().item() for s, x in zip(scale, g)))
            for w, s, x in zip(leaves, scale, g):
                w.data.add_(rho / norm * s * s * x)
            for k, w in enumerate(leaves):
                w.grad = gradient(t, k, w.detach())
            for w, b in zip(leaves, before):
                w.data.copy_(b)
            o.step()

        return step

    return make


def clipped(leaves):
    o = torch.optim.SGD(leaves, lr=0.1)

    def step(t):
        for k, w in enumerate(leaves):
            w.grad = gradient(t, k, w.detach())
        torch.nn.utils.clip_grad_norm_(leaves, 0.5)
        o.step()

    return step


O = torch.optim
cases = {
    'sgd': torch_optimizer(O.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    'nesterov': torch_optimizer(O.SGD, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    'adam': torch_optimizer(O.Adam, lr=0.05, weight_decay=0.1),
    'adamw': torch_optimizer(O.AdamW, lr=0.05, weight_decay=0.1),
    'rmsprop': torch_optimizer(O.RMSprop, lr=0.02, weight_decay=0.01),
    'rmsprop centered momentum': torch_optimizer(O.RMSprop, lr=0.02, alpha=0.9, centered=True, momentum=0.5),
    'lamb': lamb(0.05, 0.01),
    'sam': sam(0.05, False),
    'asam': sam(0.5, True),
    'clip': clipped,
}

if __name__ == '__main__':
    json.dump({name: [float('%.9g' % v) for v in run(make)] for name, make in cases.items()}, sys.stdout, separators=(',', ':'))
