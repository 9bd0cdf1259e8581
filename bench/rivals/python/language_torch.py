"""The recurrent language model of `tersor train lstm` in PyTorch: same data, net, initial scales, optimizer, schedule and order of the text.

    node bench/rivals/tokens.mjs moby-dick,lower=yes,maxSize=3000 tokens.npz
    python3 bench/rivals/python/language_torch.py tokens.npz --seed 1

`--init FILE` begins with the values of a training state (`tersor train ... --snapshots 0` writes FILE.snapshots/epoch-0.safetensors) instead of its own draws.

Prints one JSON line per epoch and one at the end with the perplexity of the test text (state carried through it, every token counted).
"""
import argparse
import json
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Embedding, dropout, LSTM (dropout between layers), dropout, decoder; initial values as Tersor's."""

    def __init__(self, vocabulary, width, hidden, layers, dropout):
        super().__init__()
        self.encoder = nn.Embedding(vocabulary, width)
        self.rnn = nn.LSTM(width, hidden, layers, dropout=dropout, batch_first=True)  # +-1 / sqrt(hidden) by itself
        self.decoder = nn.Linear(hidden, vocabulary)  # +-1 / sqrt(in) by itself
        self.drop = nn.Dropout(dropout)
        nn.init.normal_(self.encoder.weight, 0, 0.02)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, ids, state):
        y, state = self.rnn(self.drop(self.encoder(ids)), state)
        return self.decoder(self.drop(y)), state


def begin_with(net, file):
    """Takes over the values `values/<path>/value` of a training state of Tersor; every parameter must be there."""
    with open(file, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
        body = f.read()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            entry = header[f"values/{name}/value"]
            assert entry["dtype"] == "F32" and entry["shape"] == list(parameter.shape), (name, entry)
            begin, end = entry["data_offsets"]
            parameter.copy_(torch.from_numpy(np.frombuffer(body[begin:end], dtype=np.float32).reshape(entry["shape"]).copy()))


def windows(tokens, columns, window):
    rows = (len(tokens) - 1) // columns
    x = torch.from_numpy(tokens[: rows * columns].astype(np.int64)).view(columns, rows)
    y = torch.from_numpy(tokens[1 : rows * columns + 1].astype(np.int64)).view(columns, rows)
    return [(x[:, i : i + window], y[:, i : i + window]) for i in range(0, rows, window)]


def perplexity(net, tokens, columns=1, window=256):
    net.eval()
    state, total, count = None, 0.0, 0
    with torch.no_grad():
        for x, y in windows(tokens, columns, window):
            scores, state = net(x, state)
            total += F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1)).item() * y.numel()
            count += y.numel()
    net.train()
    return math.exp(total / count)


def rate(lr, step, steps, warmup):
    """Half a cosine after a linear warm-up: ts/optim/schedule.ts."""
    warm = math.floor(warmup * steps + 0.5)
    r = lr * (1 + math.cos(math.pi * step / steps)) / 2
    return r * (step + 1) / (warm + 1) if step < warm else r


def main():
    p = argparse.ArgumentParser()
    p.add_argument("tokens")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--batch", type=int, default=20)
    p.add_argument("--window", type=int, default=35)
    p.add_argument("--hidden", type=int, default=200)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--dropout", type=float, default=0.2)
    p.add_argument("--lr", type=float, default=0.003)
    p.add_argument("--warmup", type=float, default=0.05)
    p.add_argument("--clip", type=float, default=1)
    p.add_argument("--init")
    p.add_argument("--threads", type=int, default=1)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    data = np.load(o.tokens)
    net = Net(int(data["vocabulary"][0]), o.hidden, o.hidden, o.layers, o.dropout)
    if o.init:
        begin_with(net, o.init)
    optimizer = torch.optim.Adam(net.parameters(), lr=o.lr)
    cuts = windows(data["train"], o.batch, o.window)
    steps = o.epochs * len(cuts)
    began = time.time()
    for epoch in range(o.epochs):
        state, total, count = None, 0.0, 0
        for i, (x, y) in enumerate(cuts):
            for group in optimizer.param_groups:
                group["lr"] = rate(o.lr, epoch * len(cuts) + i, steps, o.warmup)
            optimizer.zero_grad()
            scores, state = net(x, state)
            state = tuple(s.detach() for s in state)
            loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), o.clip)
            optimizer.step()
            total += loss.item() * y.numel()
            count += y.numel()
        valid = perplexity(net, data["valid"], columns=8)
        print(json.dumps({"epoch": epoch + 1, "train": math.exp(total / count), "valid": valid, "seconds": time.time() - began}), flush=True)
    print(json.dumps({"seed": o.seed, "test": perplexity(net, data["test"]), "seconds": time.time() - began}), flush=True)


main()
