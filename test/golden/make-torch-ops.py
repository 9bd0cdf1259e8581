"""Values of torch 1.13 for test/ops/torch.test.ts: python3 test/golden/make-torch-ops.py > test/golden/torch-ops.json

Inputs are wave(k, shape): element i is sin(1.3 i + k), made again by the test, so that only results are stored.
"""
import json
import math
import sys

import torch
import torch.nn.functional as F


def wave(k, *shape):
    n = math.prod(shape)
    return torch.tensor([math.sin(1.3 * i + k) for i in range(n)], dtype=torch.float64).reshape(shape)


cases = {
    'conv2d groups': lambda: F.conv2d(wave(0, 2, 4, 5, 6), wave(1, 6, 2, 3, 2), wave(2, 6), stride=(2, 1), padding=(1, 2), groups=2),
    'conv2d depthwise same': lambda: F.conv2d(wave(0, 1, 3, 6, 5), wave(1, 3, 1, 3, 4), None, padding='same', groups=3),
    'conv2d dilated': lambda: F.conv2d(F.pad(wave(0, 1, 2, 7, 8), (3, 0, 1, 2)), wave(1, 3, 2, 3, 2), wave(2, 3), dilation=(2, 3)),
    'conv1d': lambda: F.conv1d(wave(0, 2, 4, 9), wave(1, 4, 2, 3), wave(2, 4), stride=2, padding=2, dilation=2, groups=2),
    'conv1d causal': lambda: F.conv1d(F.pad(wave(0, 1, 2, 6), (4, 0)), wave(1, 2, 1, 3), None, dilation=2, groups=2),
    'convTranspose2d': lambda: F.conv_transpose2d(wave(0, 2, 4, 3, 4), wave(1, 4, 3, 3, 2), wave(2, 6), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2),
    'convTranspose2d dilated': lambda: F.conv_transpose2d(wave(0, 1, 2, 3, 3), wave(1, 2, 2, 2, 3), None, dilation=(2, 1)),
    'convTranspose1d': lambda: F.conv_transpose1d(wave(0, 1, 2, 5), wave(1, 2, 3, 4), wave(2, 3), stride=2, padding=1),
    'maxPool2d': lambda: F.max_pool2d(wave(0, 2, 2, 7, 6), (3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True),
    'avgPool2d': lambda: F.avg_pool2d(wave(0, 1, 2, 7, 6), 3, stride=(2, 2), padding=1, ceil_mode=True),
    'avgPool2d over data only': lambda: F.avg_pool2d(wave(0, 1, 2, 7, 6), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    'maxPool1d': lambda: F.max_pool1d(wave(0, 2, 3, 8), 3, stride=2, padding=1),
    'avgPool1d': lambda: F.avg_pool1d(wave(0, 2, 3, 8), 3, stride=2, ceil_mode=True),
    'adaptiveAvgPool2d': lambda: F.adaptive_avg_pool2d(wave(0, 2, 2, 5, 7), (3, 4)),
    'adaptiveAvgPool2d to one': lambda: F.adaptive_avg_pool2d(wave(0, 2, 2, 5, 7), 1),
    'adaptiveMaxPool2d': lambda: F.adaptive_max_pool2d(wave(0, 2, 2, 5, 7), (3, 4)),
}

if __name__ == '__main__':
    out = {}
    for name, run in cases.items():
        y = run()
        out[name] = {'shape': list(y.shape), 'values': [float('%.7g' % v) if math.isfinite(v) else str(v) for v in y.reshape(-1).tolist()]}
    json.dump(out, sys.stdout, separators=(',', ':'))
