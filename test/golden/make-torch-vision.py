"""Scores of image nets written in plain torch with torchvision's names, all tensors filled by a hash of (name, index).

    python3 test/golden/make-torch-vision.py > test/golden/torch-vision.json        # torch 1.13
"""
import json, sys
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F


def noise(name, n):
    """Uniform in [-1, 1), exact in float32."""
    h = 2166136261
    for c in name.encode():
        h = ((h ^ c) * 16777619) & 0xFFFFFFFF
    x = (np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9)) ^ np.uint32(h)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
    x = (x ^ (x >> np.uint32(15))) >> np.uint32(8)
    return x.astype(np.float64) / 2 ** 23 - 1


def values(name, shape):
    n = int(np.prod(shape))
    v = noise(name, n)
    if name.endswith('running_var'):
        v = 1 + 0.5 * v
    elif len(shape) == 1:
        v = (1 if name.endswith('.weight') else 0) + 0.1 * v
    else:
        v = v * np.sqrt(6 / np.prod(shape[1:]))
    return torch.tensor(v.astype(np.float32)).reshape(shape)


def conv(i, o, k, s=1, g=1, bias=False):
    return nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=bias)


class Basic(nn.Module):
    def __init__(self, i, o, s, pad):
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = conv(i, o, 3, s), nn.BatchNorm2d(o), conv(o, o, 3), nn.BatchNorm2d(o)
        self.pad, self.stride, self.extra = pad, s, o - i
        if not pad and (i != o or s != 1):
            self.downsample = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, 'downsample'):
            x = self.downsample(x)
        elif self.pad:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.extra // 2, self.extra // 2))
        return F.relu(y + x)


class Bottleneck(nn.Module):
    def __init__(self, i, w, o, s):
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2, self.conv3, self.bn3 = conv(i, w, 1), nn.BatchNorm2d(w), conv(w, w, 3, s), nn.BatchNorm2d(w), conv(w, o, 1), nn.BatchNorm2d(o)
        if i != o or s != 1:
            self.downsample = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))))
        return F.relu(y + (self.downsample(x) if hasattr(self, 'downsample') else x))


class ResNet(nn.Module):
    def __init__(self, stem, widths, counts, block, classes):
        super().__init__()
        self.stem = stem
        self.conv1 = conv(3, widths[0] if stem != 'wide' else 64, 7, 2) if stem == 'large' else conv(3, 16 if stem == 'cifar' else 64, 3)
        i = self.conv1.out_channels
        self.bn1 = nn.BatchNorm2d(i)
        for s, (w, n) in enumerate(zip(widths, counts)):
            blocks = []
            for k in range(n):
                step = 2 if k == 0 and s > 0 else 1
                o = 4 * w if block == 'bottleneck' else w
                blocks.append(Bottleneck(i, w, o, step) if block == 'bottleneck' else Basic(i, o, step, block == 'pad'))
                i = o
            setattr(self, 'layer%d' % (s + 1), nn.Sequential(*blocks))
        self.stages = len(widths)
        self.fc = nn.Linear(i, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.stem == 'large':
            x = F.max_pool2d(x, 3, 2, 1)
        for s in range(self.stages):
            x = getattr(self, 'layer%d' % (s + 1))(x)
        return self.fc(x.mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self, counts, classes):
        super().__init__()
        layers, i = [], 3
        for n, o in zip(counts, [64, 128, 256, 512, 512]):
            for _ in range(n):
                layers += [conv(i, o, 3, bias=True), nn.BatchNorm2d(o), nn.ReLU()]
                i = o
            layers.append(nn.MaxPool2d(2, 2))
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(512, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def part(i, o, k, s=1, g=1):
    return nn.Sequential(conv(i, o, k, s, g), nn.BatchNorm2d(o), nn.ReLU6())


class Inverted(nn.Module):
    def __init__(self, i, o, s, e):
        super().__init__()
        w = i * e
        self.conv = nn.Sequential(*([part(i, w, 1)] if e > 1 else []), part(w, w, 3, s, w), conv(w, o, 1), nn.BatchNorm2d(o))
        self.around = s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.around else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers, i = [part(3, 32, 3, 2)], 32
        for e, o, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for k in range(n):
                layers.append(Inverted(i, o, s if k == 0 else 1, e))
                i = o
        self.features = nn.Sequential(*layers, part(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


nets = {
    'resnet20': (lambda: ResNet('cifar', [16, 32, 64], [3, 3, 3], 'pad', 10), 33),
    'resnet18': (lambda: ResNet('large', [64, 128, 256, 512], [2, 2, 2, 2], 'basic', 7), 65),
    'resnet50': (lambda: ResNet('small', [64, 128, 256, 512], [3, 4, 6, 3], 'bottleneck', 3), 17),
    'vgg11_bn': (lambda: Vgg([1, 1, 2, 2, 2], 5), 32),
    'mobilenet_v2': (lambda: MobileNetV2(4), 64),
}

if __name__ == '__main__':
    out = {}
    for name, (make, side) in nets.items():
        net = make().eval()
        state = {k: values(k, tuple(v.shape)) for k, v in net.state_dict().items() if not k.endswith('num_batches_tracked')}
        net.load_state_dict(state, strict=False)
        x = torch.tensor(noise('x', 2 * 3 * side * side).astype(np.float32)).reshape(2, 3, side, side)
        with torch.no_grad():
            y = net(x)
        out[name] = {'side': side, 'tensors': {k: list(v.shape) for k, v in state.items()}, 'y': [float('%.7g' % v) for v in y.reshape(-1).tolist()]}
    json.dump(out, sys.stdout, separators=(',', ':'))
