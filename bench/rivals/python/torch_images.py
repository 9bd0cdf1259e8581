"""Training of nets for images, as bench/contenders/tersor-images.ts, in PyTorch."""
import math

import torch
import torch.nn.functional as F

from contender import floats, reset_peak, with_peak


class LeNet5(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2)).reshape(x.shape[0], 400)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Block(torch.nn.Module):
    def __init__(self, before, out, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(before, out, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(out)
        self.conv2 = torch.nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(out)
        self.stride, self.more = stride, (out - before) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + x, inplace=True)


class ResNet20(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        before = 16
        for s, out in enumerate((16, 32, 64)):
            blocks = []
            for i in range(3):
                blocks.append(Block(before, out, 2 if i == 0 and s > 0 else 1))
                before = out
            setattr(self, f"layer{s + 1}", torch.nn.Sequential(*blocks))
        self.fc = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def prepare(p):
    shape = (p["channels"], p["side"], p["side"])
    images, batch = p["images"], p["batch"]
    data = torch.from_numpy(floats((images, *shape), 7))
    labels = torch.arange(images) * 7 % 10
    reset_peak()
    model = LeNet5() if p["net"] == "lenet5" else ResNet20()
    model.train()
    named = dict(model.named_parameters())
    for i, name in enumerate(sorted(named)):
        w = named[name]
        if w.dim() > 1:
            w.copy_(torch.from_numpy(floats(tuple(w.shape), 100 + i)) / math.sqrt(math.prod(w.shape[1:])))
        else:
            w.fill_(1.0 if name.endswith("weight") else 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def gradients(begin):
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            F.cross_entropy(model(data[begin : begin + batch]), labels[begin : begin + batch]).backward()

    def call():
        for begin in range(0, images, batch):
            gradients(begin)
            optimizer.step()

    gradients(0)
    check = sum(t.grad.double().abs().sum().item() for t in model.parameters())
    return with_peak([call], check)
