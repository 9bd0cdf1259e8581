/** Hugging Face folders in their variants, and those that must be refused. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { loadHuggingFace, loadModel, saveHuggingFace, tokenizerOf, type HuggingFaceOptions } from '../../ts/models/index.js'
import { tempDir } from '../formats/lib.js'
import { code, leavesNothing } from '../nn/lib.js'
import { changed, close, expectedOf, folderOf, output } from './huggingface-lib.js'

describe('a Hugging Face folder', () => {
  const rejects = (folder: string, c: string, message: RegExp, options?: HuggingFaceOptions): void =>
    leavesNothing(() => expect(() => loadHuggingFace(folder, options)).toThrowError(code(c, message)))
  const vector: RawTensor = { dtype: 'f32', shape: [1], data: new Uint8Array(4) }

  it('may have the names of 2018, buffers, and copies of tied weights', () => {
    const e = expectedOf('bert')
    const folder = changed('bert', (tensors) => {
      for (const [name, raw] of [...tensors]) {
        if (!name.includes('LayerNorm')) continue
        tensors.delete(name)
        tensors.set(name.replace(/weight$/, 'gamma').replace(/bias$/, 'beta'), raw)
      }
      tensors.set('bert.embeddings.position_ids', { dtype: 'i64', shape: [1, 32], data: new Uint8Array(256) })
      tensors.set('cls.predictions.decoder.weight', tensors.get('bert.embeddings.word_embeddings.weight')!)
      tensors.set('cls.seq_relationship.bias', vector)
    })
    const model = loadHuggingFace(folder)
    close(output(model, e), e.outputs.classifier!, 'old names')
    expect(model.info.unused).toContain('cls.seq_relationship.bias')
    expect(model.info.unused).not.toContain('cls.predictions.decoder.weight')
    model.dispose()
    const gpt = changed('gpt2', (tensors) => {
      tensors.set('transformer.h.0.attn.bias', { dtype: 'bool', shape: [4], data: new Uint8Array(4) })
      tensors.set('lm_head.weight', tensors.get('transformer.wte.weight')!)
    })
    loadModel(gpt).dispose()
  })

  it('may lack the pooler of a bare body; a missing head begins fresh when it is asked for', () => {
    const bare = changed('bert', (tensors, config) => {
      for (const name of [...tensors.keys()]) if (!name.startsWith('bert.e')) tensors.delete(name)
      config.architectures = ['BertModel']
    })
    const body = loadModel(bare)
    expect(body.info.task).toBe('embedding')
    expect(output(body, expectedOf('bert')).length).toBe(3 * 16)
    body.dispose()
    const options = { head: 'classifier', classes: ['a', 'b'] } as const
    const models = [1, 1, 2].map((seed) => loadHuggingFace(bare, { ...options, seed }))
    const [a, b, c] = models.map((m) =>
      m
        .weights()
        .find(({ path: p }) => p === 'out.weight')!
        .weight.dense()
        .read(),
    )
    expect(a).toEqual(b)
    expect(a).not.toEqual(c)
    expect(models[0]!.info.history).toMatchObject([{ fresh: ['pooler.weight', 'pooler.bias', 'out.weight', 'out.bias'] }])
    for (const m of models) m.dispose()
  })

  it('follows the pooling of Sentence Transformers', () => {
    const folder = changed('bert', (_t, config) => void (config.architectures = ['BertModel']))
    fs.mkdirSync(path.join(folder, '1_Pooling'))
    const write = (name: string, value: unknown): void => fs.writeFileSync(path.join(folder, name), JSON.stringify(value))
    write('1_Pooling/config.json', { pooling_mode_cls_token: true, pooling_mode_mean_tokens: false })
    write('modules.json', [{ type: 'sentence_transformers.models.Transformer' }, { type: 'sentence_transformers.models.Normalize' }])
    const e = expectedOf('bert')
    const model = loadModel(folder)
    const got = output(model, e)
    model.dispose()
    const first = [0, 1, 2].map((row) => e.outputs.hidden!.slice(row * 7 * 16, row * 7 * 16 + 16))
    close(
      got,
      first.flatMap((v) => v.map((x) => x / Math.hypot(...v))),
      'first token, length 1',
    )
    write('1_Pooling/config.json', { pooling_mode_max_tokens: true })
    rejects(folder, 'ERR_UNSUPPORTED', /either the mean of tokens or the first token alone.*pooling_mode_max_tokens/)
    write('1_Pooling/config.json', { pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true })
    rejects(folder, 'ERR_UNSUPPORTED', /got pooling_mode_mean_tokens and pooling_mode_max_tokens/)
    write('1_Pooling/config.json', null)
    rejects(folder, 'ERR_MODEL_FORMAT', /1_Pooling\/config\.json: must be an object/)
    write('1_Pooling/config.json', { pooling_mode_mean_tokens: true })
    write('modules.json', [{ type: 'sentence_transformers.models.Transformer' }, { type: 'sentence_transformers.models.Dense' }])
    rejects(folder, 'ERR_UNSUPPORTED', /modules\.json: .*got Dense/)
  })

  it('is refused with tensors that are missing, unknown, of another shape, or untied', () => {
    const bert = (change: (tensors: Map<string, RawTensor>) => void): string => changed('bert', change)
    rejects(
      bert((t) => t.delete('classifier.bias')),
      'ERR_MODEL_FORMAT',
      /"classifier\.bias" is missing/,
    )
    rejects(
      bert((t) => t.delete('bert.embeddings.LayerNorm.bias')),
      'ERR_MODEL_FORMAT',
      /"bert\.embeddings\.LayerNorm\.bias" is missing/,
    )
    rejects(
      bert((t) => t.set('bert.adapter.weight', vector)),
      'ERR_MODEL_FORMAT',
      /belong to nothing in a model of bert.*bert\.adapter\.weight/,
    )
    rejects(
      bert((t) => t.set('bert.encoder.layer.2.output.dense.bias', vector)),
      'ERR_MODEL_FORMAT',
      /belong to nothing.*bert\.encoder\.layer\.2\.output\.dense\.bias/,
    )
    rejects(
      bert((t) => t.set('classifier.bias', vector)),
      'ERR_MODEL_FORMAT',
      /"classifier\.bias" must be floating \[3\], got f32\[1\]/,
    )
    rejects(
      bert((t) => t.set('classifier.bias', { dtype: 'i32', shape: [3], data: new Uint8Array(12) })),
      'ERR_MODEL_FORMAT',
      /must be floating \[3\], got i32\[3\]/,
    )
    rejects(
      bert((t) => t.set('embeddings.LayerNorm.bias', vector)),
      'ERR_MODEL_FORMAT',
      /"bert\.embeddings\.LayerNorm\.bias" and "embeddings\.LayerNorm\.bias" are the same weight/,
    )
    const untied = (config: Record<string, unknown>, tensors: Map<string, RawTensor>): void => {
      const raw = tensors.get('transformer.wte.weight')!
      tensors.set('lm_head.weight', { ...raw, data: new Uint8Array(raw.data.length) })
      if (config.untie) config.tie_word_embeddings = false
    }
    rejects(
      changed('gpt2', (t, c) => untied(c, t)),
      'ERR_MODEL_FORMAT',
      /"lm_head\.weight" and "transformer\.wte\.weight" are tied/,
    )
    const own = loadModel(changed('gpt2', (t, c) => untied(Object.assign(c, { untie: true }), t)))
    expect(output(own, expectedOf('gpt2')).every((v) => v === 0)).toBe(true) // a decoder of zeros, not the table
    own.dispose()
  })

  it('is refused with a configuration that is not known', () => {
    const config = (change: object, type = 'bert'): string => changed(type, (_t, c) => void Object.assign(c, change))
    rejects(config({ model_type: 'mamba' }), 'ERR_UNSUPPORTED', /model_type "mamba" is not supported; known: bert, roberta/)
    rejects(config({ model_type: undefined }), 'ERR_MODEL_FORMAT', /model_type: is missing/)
    rejects(
      config({ architectures: ['BertForQuestionAnswering'] }),
      'ERR_UNSUPPORTED',
      /"BertForQuestionAnswering" is not supported.*head: 'embedding'/,
    )
    rejects(config({ hidden_act: 'swoosh' }), 'ERR_UNSUPPORTED', /hidden_act: "swoosh"/)
    rejects(config({ position_embedding_type: 'relative_key' }), 'ERR_UNSUPPORTED', /position_embedding_type "relative_key"/)
    rejects(config({ scale_attn_by_inverse_layer_idx: true }, 'gpt2'), 'ERR_UNSUPPORTED', /scale_attn_by_inverse_layer_idx/)
    rejects(config({ inner_group_num: 2 }, 'albert'), 'ERR_UNSUPPORTED', /inner_group_num 2/)
    rejects(config({ quantization_config: { bits: 4 } }), 'ERR_UNSUPPORTED', /quantization_config/)
    for (const [key, value] of Object.entries({
      hidden_size: 15,
      num_hidden_layers: 0,
      vocab_size: 1.5,
      layer_norm_eps: 'x',
      num_attention_heads: 3,
    }))
      rejects(config({ [key]: value }), 'ERR_MODEL_FORMAT', new RegExp(key === 'hidden_size' ? 'num_attention_heads|hidden_size' : key))
    rejects(config({ vocab_size: undefined }), 'ERR_MODEL_FORMAT', /vocab_size: is missing/)
    rejects(config({ hidden_size: 32 }), 'ERR_MODEL_FORMAT', /must be floating \[92, 32\]/)
    rejects(config({ id2label: { 1: 'x' } }), 'ERR_MODEL_FORMAT', /id2label/)
    rejects(folderOf('bert'), 'ERR_OPTION', /head must be one of .*did you mean classifier\?/, { head: 'clasifier' as never })
    rejects(folderOf('bert'), 'ERR_OPTION', /classes are for/, { head: 'language', classes: ['a'] })
  })

  it('is refused without safetensors, with shards elsewhere, with a broken index or tokenizer', () => {
    const none = changed('bert', () => undefined)
    fs.rmSync(path.join(none, 'model.safetensors'))
    fs.writeFileSync(path.join(none, 'pytorch_model.bin'), '')
    rejects(none, 'ERR_UNSUPPORTED', /has no model\.safetensors.*pytorch_model\.bin/)
    const index = (value: unknown): void => fs.writeFileSync(path.join(none, 'model.safetensors.index.json'), JSON.stringify(value))
    index({ weight_map: { a: '../secret.safetensors' } })
    rejects(none, 'ERR_PATH', /must stay beneath the model/)
    index({ weight_map: ['a'] })
    rejects(none, 'ERR_MODEL_FORMAT', /weight_map must map/)
    fs.copyFileSync(path.join(folderOf('bert'), 'model.safetensors'), path.join(none, 'part.safetensors'))
    index({ weight_map: { other: 'part.safetensors' } })
    rejects(none, 'ERR_MODEL_FORMAT', /part\.safetensors does not hold it/)
    const token = (name: string, text: string): string => {
      const folder = changed('bert', () => undefined, ['vocab.txt'])
      fs.writeFileSync(path.join(folder, name), text)
      return folder
    }
    rejects(token('vocab.txt', 'a\nb\n'), 'ERR_MODEL_FORMAT', /vocab\.txt must have \[CLS\]/)
    rejects(token('tokenizer.json', '{}'), 'ERR_MODEL_FORMAT', /tokenizer/)
    rejects(token('tokenizer.json', '{'), 'ERR_MODEL_FORMAT', /tokenizer\.json/)
    const silent = loadModel(token('readme.txt', ''))
    expect(() => tokenizerOf(silent)).toThrowError(code('ERR_MODEL_FORMAT', /no extra "tokenizer"/))
    silent.dispose()
  })

  it('is not written for models that no family has', () => {
    const model = loadModel(folderOf('bert'))
    const dir = tempDir()
    expect(() => saveHuggingFace(model, dir, { dtype: 'i8' as never })).toThrowError(code('ERR_OPTION', /dtype must be/))
    expect(fs.readdirSync(dir)).toEqual([])
    saveHuggingFace(model, dir, { dtype: 'bf16' })
    expect(fs.statSync(path.join(dir, 'model.safetensors')).size).toBeLessThan(
      fs.statSync(path.join(folderOf('bert'), 'model.safetensors')).size,
    )
    const half = loadModel(dir)
    const e = expectedOf('bert')
    output(half, e).forEach((v, i) => expect(Math.abs(v - e.outputs.classifier![i]!)).toBeLessThan(0.15))
    half.dispose()
    model.dispose()
  })
})
