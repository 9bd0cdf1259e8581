"""Writes test/golden/llama.json: scores of tiny Llama, Mistral and Qwen2 models by an implementation of its own in NumPy, float64.

    python3 test/golden/make-llama.py        (NumPy 1.24)

Weights follow from the names of their tensors, sorted: element j of tensor t is f32(scale * sin(0.37 j + 1.7 t + 0.2)), norms are 1 + that with scale 0.2.
"""
import json
import pathlib

import numpy as np


def shapes(c):
    w, d, h, k, f = c['hidden_size'], c['head_dim'], c['num_attention_heads'], c['num_key_value_heads'], c['intermediate_size']
    out = {'model.embed_tokens.weight': [c['vocab_size'], w], 'model.norm.weight': [w]}
    if not c['tie_word_embeddings']:
        out['lm_head.weight'] = [c['vocab_size'], w]
    for i in range(c['num_hidden_layers']):
        at = f'model.layers.{i}.'
        out.update({at + 'input_layernorm.weight': [w], at + 'post_attention_layernorm.weight': [w],
                    at + 'self_attn.q_proj.weight': [h * d, w], at + 'self_attn.k_proj.weight': [k * d, w], at + 'self_attn.v_proj.weight': [k * d, w],
                    at + 'self_attn.o_proj.weight': [w, h * d], at + 'mlp.gate_proj.weight': [f, w], at + 'mlp.up_proj.weight': [f, w],
                    at + 'mlp.down_proj.weight': [w, f]})
        if c['model_type'] == 'qwen2':
            out.update({at + 'self_attn.q_proj.bias': [h * d], at + 'self_attn.k_proj.bias': [k * d], at + 'self_attn.v_proj.bias': [k * d]})
    return out


def weights(c):
    out = {}
    for t, (name, shape) in enumerate(sorted(shapes(c).items())):
        n = int(np.prod(shape))
        norm = name.endswith('norm.weight')
        values = (0.2 if norm else 0.4) * np.sin(0.37 * np.arange(n) + 1.7 * t + 0.2) + (1.0 if norm else 0.0)
        out[name] = values.astype(np.float32).astype(np.float64).reshape(shape)
    return out


def rates(c):
    d = c['head_dim']
    rate = 1.0 / c['rope_theta'] ** (np.arange(0, d, 2) / d)
    s = c['rope_scaling']
    if s is None:
        return rate
    if s['rope_type'] == 'linear':
        return rate / s['factor']
    wave = 2 * np.pi / rate
    low, high, old = s['low_freq_factor'], s['high_freq_factor'], s['original_max_position_embeddings']
    smooth = (old / wave - low) / (high - low)
    between = (1 - smooth) * rate / s['factor'] + smooth * rate
    return np.where(wave > old / low, rate / s['factor'], np.where(wave < old / high, rate, between))


def turn(x, c):  # [T, heads, d]
    angle = np.arange(x.shape[0])[:, None, None] * rates(c)
    cos, sin = np.cos(np.concatenate([angle, angle], -1)), np.sin(np.concatenate([angle, angle], -1))
    a, b = np.split(x, 2, -1)
    return x * cos + np.concatenate([-b, a], -1) * sin


def norm(x, g, c):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + c['rms_norm_eps']) * g


def scores(c, ids):
    w = weights(c)
    x = w['model.embed_tokens.weight'][ids]
    t, h, k, d = len(ids), c['num_attention_heads'], c['num_key_value_heads'], c['head_dim']
    for i in range(c['num_hidden_layers']):
        def dense(y, name):
            at = f'model.layers.{i}.{name}'
            return y @ w[at + '.weight'].T + w.get(at + '.bias', 0)
        y = norm(x, w[f'model.layers.{i}.input_layernorm.weight'], c)
        q = turn(dense(y, 'self_attn.q_proj').reshape(t, h, d), c)
        keys = np.repeat(turn(dense(y, 'self_attn.k_proj').reshape(t, k, d), c), h // k, 1)
        values = np.repeat(dense(y, 'self_attn.v_proj').reshape(t, k, d), h // k, 1)
        s = np.einsum('ihd,jhd->hij', q, keys) / np.sqrt(d)
        back = np.arange(t)[:, None] - np.arange(t)[None, :]
        hidden = (back < 0) | (back >= c.get('sliding_window', t + 1))
        s = np.where(hidden, -np.inf, s)
        p = np.exp(s - s.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + dense(np.einsum('hij,jhd->ihd', p, values).reshape(t, h * d), 'self_attn.o_proj')
        y = norm(x, w[f'model.layers.{i}.post_attention_layernorm.weight'], c)
        gate = dense(y, 'mlp.gate_proj')
        x = x + dense(gate / (1 + np.exp(-gate)) * dense(y, 'mlp.up_proj'), 'mlp.down_proj')
    x = norm(x, w['model.norm.weight'], c)
    return x @ w['model.embed_tokens.weight' if c['tie_word_embeddings'] else 'lm_head.weight'].T


BASE = {'vocab_size': 13, 'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'num_key_value_heads': 2, 'head_dim': 4,
        'intermediate_size': 24, 'max_position_embeddings': 32, 'rms_norm_eps': 1e-5, 'rope_theta': 10000.0, 'rope_scaling': None,
        'hidden_act': 'silu', 'tie_word_embeddings': False}
LLAMA3 = {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0, 'original_max_position_embeddings': 16}
CONFIGS = {
    'llama': {**BASE, 'model_type': 'llama', 'head_dim': 8, 'rope_theta': 100.0, 'rope_scaling': LLAMA3},
    'mistral': {**BASE, 'model_type': 'mistral', 'sliding_window': 3},
    'qwen2': {**BASE, 'model_type': 'qwen2', 'num_key_value_heads': 1, 'tie_word_embeddings': True, 'rope_scaling': {'rope_type': 'linear', 'factor': 2.0}},
}
IDS = [3, 1, 4, 1, 5, 9, 2, 6]

if __name__ == '__main__':
    out = {'ids': IDS, 'models': {name: {'config': c, 'shapes': dict(sorted(shapes(c).items())),
                                         'scores': [[float(f'{v:.9g}') for v in scores(c, IDS)[i]] for i in (0, 4, 7)]}
                                  for name, c in CONFIGS.items()}}
    path = pathlib.Path(__file__).parent / 'llama.json'
    path.write_text(json.dumps(out) + '\n')
