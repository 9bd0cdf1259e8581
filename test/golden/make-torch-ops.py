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

x34 = wave(0, 3, 4) * 3
y34 = wave(2, 3, 4)
labels = torch.tensor([2, 0, 3])
ignoring = torch.tensor([2, 1, 3])
weights = torch.tensor([0.5, 1.0, 2.0, 0.25], dtype=torch.float64)
probabilities = F.softmax(wave(1, 3, 4), -1)
cases.update({
    'leakyRelu': lambda: F.leaky_relu(x34, 0.1),
    'elu': lambda: F.elu(x34, 0.7),
    'selu': lambda: F.selu(x34),
    'geluTanh': lambda: 0.5 * x34 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x34 + 0.044715 * x34 ** 3))),
    'silu': lambda: F.silu(x34),
    'mish': lambda: F.mish(x34),
    'hardSwish': lambda: F.hardswish(2 * x34),
    'hardSigmoid': lambda: F.hardsigmoid(2 * x34),
    'softplus': lambda: F.softplus(x34, 2.0),
    'softsign': lambda: F.softsign(x34),
    'logSigmoid': lambda: F.logsigmoid(x34),
    'relu6': lambda: F.relu6(4 * x34),
    'hardTanh': lambda: F.hardtanh(x34, -0.5, 2),
    'prelu': lambda: F.prelu(x34, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)),
    'glu': lambda: F.glu(x34),
    'groupNorm': lambda: F.group_norm(wave(0, 2, 4, 3), 2, wave(1, 4), wave(2, 4), 1e-3),
    'instanceNorm': lambda: F.instance_norm(wave(0, 2, 3, 5), eps=1e-3),
    'batchNorm': lambda: F.batch_norm(wave(0, 3, 2, 20), None, None, wave(1, 2), wave(2, 2), True, 0.1, 1e-3),
    'batchNorm of rows': lambda: F.batch_norm(wave(0, 5, 3), None, None, wave(1, 3), wave(2, 3), True, 0.1, 1e-3),
    'rmsNorm': lambda: x34 / torch.sqrt((x34 ** 2).mean(-1, keepdim=True) + 1e-3) * wave(1, 4),
    'crossEntropy with everything': lambda: F.cross_entropy(x34, ignoring, weights, ignore_index=1, label_smoothing=0.2),
    'crossEntropy weighted rows': lambda: F.cross_entropy(x34, labels, weights, reduction='none'),
    'crossEntropy smoothed sum': lambda: F.cross_entropy(x34, ignoring, ignore_index=1, label_smoothing=0.3, reduction='sum'),
    'softCrossEntropy': lambda: F.cross_entropy(x34, probabilities),
    'nllLoss': lambda: F.nll_loss(F.log_softmax(x34, -1), ignoring, weights, ignore_index=1),
    'bceWithLogits': lambda: F.binary_cross_entropy_with_logits(10 * x34, probabilities, pos_weight=weights),
    'klLoss': lambda: F.kl_div(F.log_softmax(x34, -1), F.relu(probabilities - 0.2), reduction='none'),
    'klLoss of logarithms': lambda: F.kl_div(F.log_softmax(x34, -1), torch.log(probabilities), reduction='batchmean', log_target=True),
    'mse': lambda: F.mse_loss(x34, y34, reduction='sum'),
    'l1Loss': lambda: F.l1_loss(x34, y34),
    'huberLoss': lambda: F.huber_loss(x34, y34, delta=0.7),
    'smoothL1Loss': lambda: F.smooth_l1_loss(x34, y34, beta=0.7, reduction='none'),
    'cosineSimilarity': lambda: F.cosine_similarity(x34, y34, 0),
    'cosineEmbeddingLoss': lambda: F.cosine_embedding_loss(x34, y34, torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64), margin=0.1, reduction='none'),
    'marginRankingLoss': lambda: F.margin_ranking_loss(x34, y34, torch.sign(wave(5, 3, 4)), margin=0.5),
    'tripletMarginLoss': lambda: F.triplet_margin_loss(x34, y34, wave(3, 3, 4), margin=2.0),
    'reflect': lambda: F.pad(wave(0, 1, 2, 4, 5), (2, 1, 3, 0), mode='reflect'),
    'replicate': lambda: F.pad(wave(0, 1, 2, 4, 5), (2, 1, 3, 4), mode='replicate'),
    'constant': lambda: F.pad(wave(0, 2, 3), (2, 1, 0, 1), value=1.5),
    'flip': lambda: torch.flip(wave(0, 2, 3, 2), (0, 2)),
    'roll': lambda: torch.roll(wave(0, 2, 5), -7, 1),
    'repeatInterleave': lambda: torch.repeat_interleave(wave(0, 2, 3), 2, 1),
    'cumsum': lambda: torch.cumsum(wave(0, 3, 4, 2), 1),
    'topK': lambda: torch.topk(wave(0, 3, 7), 3)[0],
    'topK positions': lambda: torch.topk(wave(0, 3, 7), 3, dim=0, largest=False)[1],
    'sort': lambda: torch.sort(wave(0, 3, 7), 0, descending=True)[0],
    'logSumExp': lambda: torch.logsumexp(1000 * wave(0, 3, 4), (0, 1)),
    'std': lambda: torch.std(wave(0, 3, 4), 1, unbiased=True),
    'prod': lambda: torch.prod(wave(1, 3, 7), 1),
    'argmin': lambda: torch.argmin(wave(0, 3, 4), 0),
    'triu': lambda: torch.triu(wave(0, 2, 3, 4), 1),
    'tril': lambda: torch.tril(wave(0, 4, 3), -1),
    'einsum of three': lambda: torch.einsum('bhtd,bhsd,bs->hts', wave(0, 2, 2, 3, 4), wave(1, 2, 2, 5, 4), wave(2, 2, 5)),
    'einsum transposed': lambda: torch.einsum('ijk,lj->lki', wave(0, 2, 3, 4), wave(1, 5, 3)),
    'einsum without an arrow': lambda: torch.einsum('ba,bc', wave(0, 2, 3), wave(1, 2, 4)),
    'einsum of one': lambda: torch.einsum('ijk->kj', wave(0, 2, 3, 4)),
    'embeddingBag': lambda: F.embedding_bag(torch.tensor([1, 4, 2, 2, 0]), wave(0, 5, 3), torch.tensor([0, 2, 2]), mode='mean'),
    'power': lambda: torch.pow(wave(0, 2, 3).abs() + 0.1, -1.7),
})

if __name__ == '__main__':
    out = {}
    for name, run in cases.items():
        y = run()
        out[name] = {'shape': list(y.shape), 'values': [float('%.7g' % v) if math.isfinite(v) else str(v) for v in y.reshape(-1).tolist()]}
    json.dump(out, sys.stdout, separators=(',', ':'))
