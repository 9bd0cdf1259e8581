"""Whole training steps and single eager operations of bench/contenders/tersor-steps.ts in PyTorch."""
import torch
import torch.nn.functional as F

from contender import floats, reset_peak, with_peak


class LanguageModel(torch.nn.Module):
    def __init__(self, vocabulary, hidden, layers):
        super().__init__()
        self.encoder = torch.nn.Embedding(vocabulary, hidden)
        self.rnn = torch.nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.decoder = torch.nn.Linear(hidden, vocabulary)

    def forward(self, x):
        return self.decoder(self.rnn(self.encoder(x))[0])


def language(p):
    n = p["batch"] * p["window"]
    ids = [((torch.arange(n) + shift) * 7919 % p["vocabulary"]).reshape(p["batch"], p["window"]) for shift in (0, 1)]
    reset_peak()
    model = LanguageModel(p["vocabulary"], p["hidden"], p["layers"])
    named = dict(model.named_parameters())
    for i, name in enumerate(sorted(named)):
        named[name].copy_(torch.from_numpy(floats(tuple(named[name].shape), 100 + i)) * 0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def gradient():
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            F.cross_entropy(model(ids[0]).reshape(n, -1), ids[1].reshape(n)).backward()

    def step():
        gradient()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5)
        optimizer.step()

    gradient()
    return with_peak([step], sum(t.grad.double().abs().sum().item() for t in model.parameters()))


def eager(kernel, n):
    a, b, c = (torch.from_numpy(floats((n,), seed)) for seed in (11, 22, 33))
    if kernel == "eager.gradient":
        a.requires_grad_()

        def gradient():
            with torch.enable_grad():
                return torch.autograd.grad((a * a).sum(), a)[0]

        call = gradient
    else:
        call = (lambda: a + b) if kernel == "eager.add" else (lambda: torch.relu(a * b + c))
    return [call], call().double().abs().sum().item()


def prepare(kernel, p):
    return language(p) if kernel == "language.step" else eager(kernel, p["n"])
