"""Reference values of ts/analyze/metrics: python3 test/golden/make-metrics.py > test/golden/metrics.json
needs numpy, scipy (1.17), scikit-learn (1.9) and sacrebleu (2.6)."""
import json
import numpy as np
import scipy.stats as st
import sacrebleu
from sacrebleu.metrics import BLEU
from sklearn import metrics as sk

rng = np.random.default_rng(7)


def classification(classes, n, keep):
    t = rng.integers(0, classes, n)
    p = np.where(rng.random(n) < keep, t, rng.integers(0, classes, n))
    return case(classes, t, p)


def case(classes, t, p):
    t, p = np.asarray(t), np.asarray(p)
    out = {'classes': classes, 'labels': t.tolist(), 'predictions': p.tolist(), 'accuracy': sk.accuracy_score(t, p), 'matthews': sk.matthews_corrcoef(t, p)}
    for average in ('macro', 'micro', 'weighted'):
        a, b, f, _ = sk.precision_recall_fscore_support(t, p, average=average, zero_division=0)
        out[average] = [a, b, f]
    a, b, f, s = sk.precision_recall_fscore_support(t, p, labels=range(classes), zero_division=0)
    out['each'] = [a.tolist(), b.tolist(), f.tolist(), s.tolist()]
    return out


def regression(p, t):
    p, t = np.asarray(p, float), np.asarray(t, float)
    return {'p': p.tolist(), 't': t.tolist(), 'mse': sk.mean_squared_error(t, p), 'mae': sk.mean_absolute_error(t, p), 'r2': sk.r2_score(t, p),
            'pearson': st.pearsonr(p, t)[0], 'spearman': st.spearmanr(p, t)[0]}


x = rng.normal(size=40)
hyps = ['the cat sat on the mat', 'a quick brown fox jumps over dogs', 'it is what it is', 'hello', 'the the the the the the the']
refs = [['the cat is on the mat', 'the quick brown fox jumps over the lazy dog', 'it is what it was', 'hello there', 'the cat is on the mat'],
        ['there is a cat on the mat', 'a quick brown fox jumped over a dog', 'that is what it is', 'hi', 'there is a cat on the mat']]
bleu = []
for lines, r, options in [
    (hyps, refs, {}), (hyps, refs, {'smooth_method': 'none'}), (hyps, refs[:1], {'smooth_method': 'floor'}), (hyps, refs, {'smooth_method': 'add-k'}),
    (hyps[3:4], [refs[0][3:4]], {}), (hyps[3:4], [refs[0][3:4]], {'effective_order': True}), (hyps[4:], [refs[0][4:]], {}), (hyps[2:3], [refs[0][2:3]], {'smooth_method': 'floor', 'smooth_value': 0.5}),
    (['x y z'], [['a b c']], {}), (hyps[:2], [refs[0][:2]], {'max_ngram_order': 2}),
]:
    s = BLEU(tokenize='none', force=True, **options).corpus_score(lines, r)
    bleu.append({'hypotheses': lines, 'references': r, 'options': options, 'score': s.score, 'precisions': s.precisions, 'bp': s.bp, 'sys': s.sys_len, 'ref': s.ref_len})

print(json.dumps({
    'versions': {'sacrebleu': sacrebleu.__version__},
    'classification': [classification(2, 60, 0.7), classification(5, 80, 0.5), case(3, [0, 0, 1, 1], [0, 1, 1, 1]), case(4, [0, 1, 2, 2], [2, 2, 2, 2]), case(2, [1, 1, 1], [1, 1, 1])],
    'regression': [regression(x, 0.5 * x + rng.normal(size=40)), regression(np.round(x * 2), np.round(x + rng.normal(size=40))), regression(x + 1e8, 2 * x + 1e8)],
    'bleu': bleu,
}))
