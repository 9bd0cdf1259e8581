"""The nets of bench/contenders/tersor-nets.ts in PyTorch: gradients, and power iteration with the graph kept."""
import math

import torch
import torch.nn.functional as F

from contender import floats, reset_peak, with_peak

NETS = {
    "mlp": ((784,), [(300, 784), (300,), (100, 300), (100,), (10, 100), (10,)]),
    "lenet5": ((1, 28, 28), [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,)]),
}


def forward(net, x, p):
    if net == "lenet5":
        x = F.max_pool2d(F.relu(F.conv2d(x, p[0], p[1], padding=2)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, p[2], p[3])), 2).reshape(x.shape[0], 400)
        p = p[4:]
    return F.linear(F.relu(F.linear(F.relu(F.linear(x, p[0], p[1])), p[2], p[3])), p[4], p[5])


def prepare(kernel, p):
    shape, shapes = NETS[p["net"]]
    batch = p["batch"]
    x = torch.from_numpy(floats((batch, *shape), 7))
    labels = torch.arange(batch) * 7 % 10
    reset_peak()
    params = []
    for i, s in enumerate(shapes):
        limit = 0.1 if len(s) == 1 else 1 / math.sqrt(math.prod(s[1:]))
        params.append((torch.from_numpy(floats(s, 100 + i)) * limit).requires_grad_())

    def loss():
        return F.cross_entropy(forward(p["net"], x, params), labels)

    def total(tensors):
        return sum(t.double().abs().sum().item() for t in tensors)

    with torch.enable_grad():
        if kernel == "net.gradient":

            def gradient():
                with torch.enable_grad():
                    return torch.autograd.grad(loss(), params)

            return with_peak([gradient], total(gradient()))
        grads = torch.autograd.grad(loss(), params, create_graph=True)
    v = [torch.from_numpy(floats(s, 200 + i)) for i, s in enumerate(shapes)]
    check = total(torch.autograd.grad(grads, params, v, retain_graph=True))
    state = [v]

    def normalized(tensors):
        norm = math.sqrt(sum((t * t).sum().item() for t in tensors)) + 1e-6
        return [t / norm for t in tensors]

    state[0] = normalized(v)

    def step():
        product = torch.autograd.grad(grads, params, state[0], retain_graph=True)
        value = sum((a * b).sum().item() for a, b in zip(state[0], product))
        state[0] = normalized(product)
        return value

    return with_peak([step], check)
