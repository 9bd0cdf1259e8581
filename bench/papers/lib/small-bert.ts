/** A transformer in the shape of BERT, trained here on real mails: what a text paper's claims are tried on. */
import { Rng } from '../../../ts/base/rng.js'
import { train } from '../../../ts/compress/index.js'
import { balancedSample, loadSpamAssassin, splitSpamAssassin, subset, type TextDataset } from '../../../ts/data/index.js'
import { buildWordPiece, transformerSpec, withTokenizer } from '../../../ts/models/index.js'
import { build, freshValues, Model } from '../../../ts/nn/index.js'

export interface MailData {
  readonly train: TextDataset
  readonly test: TextDataset
}

/** SpamAssassin: balanced training mails, held-out ones of which no near-duplicate trains. */
export async function mailData(each: number, heldOut: number): Promise<MailData> {
  const { train: rest, heldOut: test } = splitSpamAssassin(await loadSpamAssassin(), { heldOut })
  return { train: subset<TextDataset>(rest, balancedSample(rest.labels, each, 13)), test }
}

export interface SmallBert {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly tokens: number
  readonly epochs: number
}

/** Trained from nothing; the seed is that of its first values and of the order of the examples. */
export async function smallBert(data: TextDataset, shape: SmallBert, seed: number, signal: AbortSignal): Promise<Model> {
  const { layers, width, heads, tokens, epochs } = shape
  const vocabulary = 3000
  const spec = transformerSpec(
    {
      model_type: 'bert',
      vocab_size: vocabulary,
      hidden_size: width,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      intermediate_size: 4 * width,
      max_position_embeddings: tokens,
    },
    { head: 'classifier', classes: data.classes.length },
  )
  const info = { name: 'small BERT', task: 'classification' as const, classes: data.classes, history: [] }
  const fresh = withTokenizer(
    new Model(build(spec, freshValues(Rng.of(seed, 'init'))), info),
    buildWordPiece(data.texts, { size: vocabulary }),
  )
  const { model } = await train(fresh, data, {
    epochs,
    batchSize: 32,
    seed,
    optimizer: { kind: 'adamw' },
    schedule: { kind: 'cosine', lr: 1e-3, warmup: 0.1 },
    signal,
  })
  fresh.dispose()
  return model
}
