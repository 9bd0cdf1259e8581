"""LSTM, GRU and CTC of torch 1.13 for test/ops/recurrent.test.ts: python3 test/golden/make-torch-recurrent.py > test/golden/torch-recurrent.json

Inputs are wave(k, shape) / 2: element i is sin(1.3 i + k) / 2, made again by the test; the loss is the sum of outputs and states weighted by waves.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F


def wave(k, *shape):
    return torch.tensor([math.sin(1.3 * i + k) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)


def recurrent(kind, batch, steps, width, units, layers=1, bidirectional=False, lengths=None, states=False):
    net = getattr(torch.nn, kind)(width, units, layers, batch_first=True, bidirectional=bidirectional).double()
    for k, p in enumerate(net.parameters()):
        p.data = wave(k + 10, *p.shape) / 2
    x = (wave(0, batch, steps, width) / 2).requires_grad_()
    d = layers * (2 if bidirectional else 1)
    first = None
    given = []
    if states:
        given = [(wave(3 + i, d, batch, units) / 2).requires_grad_() for i in range(2 if kind == 'LSTM' else 1)]
        first = tuple(given) if kind == 'LSTM' else given[0]
    inp = x if lengths is None else torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, last = net(inp, first)
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
    last = list(last) if kind == 'LSTM' else [last]
    loss = (y * wave(1, *y.shape)).sum() + sum((s * wave(2, *s.shape)).sum() for s in last)
    loss.backward()
    return {'y': y, 'h': last[0], 'c': last[-1], 'dx': x.grad, **{f'd{i}': p.grad for i, p in enumerate(net.parameters())},
            **{f's{i}': s.grad for i, s in enumerate(given)}}


def ctc(steps, batch, classes, targets, lengths, blank, zero_infinity=False):
    logits = wave(0, steps, batch, classes).requires_grad_()
    loss = F.ctc_loss(F.log_softmax(2 * logits, -1), torch.tensor(targets), lengths, [sum(v >= 0 for v in row) for row in targets], blank=blank, reduction='none', zero_infinity=zero_infinity)
    loss.backward(wave(5, batch))
    return {'loss': loss, 'dlogits': logits.grad}


cases = {
    'lstm': lambda: recurrent('LSTM', 2, 3, 4, 5),
    'lstm two layers, states': lambda: recurrent('LSTM', 3, 4, 2, 3, layers=2, states=True),
    'lstm bidirectional, lengths': lambda: recurrent('LSTM', 3, 4, 2, 3, layers=2, bidirectional=True, lengths=[2, 4, 1], states=True),
    'lstm 18 units': lambda: recurrent('LSTM', 3, 7, 3, 18, lengths=[7, 3, 5]),
    'gru': lambda: recurrent('GRU', 2, 3, 4, 5),
    'gru two layers, states': lambda: recurrent('GRU', 3, 4, 2, 3, layers=2, states=True),
    'gru bidirectional, lengths': lambda: recurrent('GRU', 3, 4, 2, 3, layers=2, bidirectional=True, lengths=[2, 4, 1], states=True),
    'gru 18 units': lambda: recurrent('GRU', 3, 7, 3, 18, lengths=[7, 3, 5]),
    'ctc': lambda: ctc(7, 3, 5, [[1, 2, 2], [3, 3, -1], [4, -1, -1]], [7, 6, 3], 0),
    'ctc blank 2': lambda: ctc(6, 2, 4, [[0, 1, 0], [3, -1, -1]], [6, 4], 2),
    'ctc zero infinity': lambda: ctc(3, 2, 4, [[1, 1, 2], [3, -1, -1]], [3, 3], 0, True),
}

if __name__ == '__main__':
    out = {}
    for name, run in cases.items():
        out[name] = {k: [float('%.7g' % v) for v in t.detach().reshape(-1).tolist()] for k, t in run().items()}
    json.dump(out, sys.stdout, separators=(',', ':'))
