// A small BERT from scratch on prose: which of two books is a sentence from? Then its folder as Python's transformers reads it, and GPT-2's size.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildWordPiece, evaluate, load, Model, ops, saveHuggingFace, tokenizerOf, train, transformerSpec, withTokenizer } from 'tersor'
import { encodeLabels, subset, textDataset } from 'tersor/data'
import { build, freshValues, parameterCount } from 'tersor/nn'

// Melville, Moby-Dick (1851), and Darwin, The Origin of Species (1859).
const books = {
  melville: [
    'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, I thought I would sail about a little.',
    'It is a way I have of driving off the spleen and regulating the circulation.',
    'Whenever I find myself growing grim about the mouth, I account it high time to get to sea as soon as I can.',
    'There now is your insular city of the Manhattoes, belted round by wharves as Indian isles by coral reefs.',
    'Say you are in the country, in some high land of lakes. Take almost any path you please, and it carries you down in a dale.',
    'I stuffed a shirt or two into my old carpet-bag, tucked it under my arm, and started for Cape Horn and the Pacific.',
    'Now, when I say that I am in the habit of going to sea, I do not mean to have it inferred that I ever go to sea as a passenger.',
    'No, when I go to sea, I go as a simple sailor, right before the mast, plumb down into the forecastle.',
  ],
  darwin: [
    'When on board H.M.S. Beagle, as naturalist, I was much struck with certain facts in the distribution of the inhabitants of South America.',
    'These facts seemed to me to throw some light on the origin of species, that mystery of mysteries.',
    'After five years work I allowed myself to speculate on the subject, and drew up some short notes.',
    'It is quite conceivable that a naturalist might come to the conclusion that each species had not been independently created.',
    'As many more individuals of each species are born than can possibly survive, there is a frequently recurring struggle for existence.',
    'From the strong principle of inheritance, any selected variety will tend to propagate its new and modified form.',
    'I am fully convinced that species are not immutable, but that those belonging to the same genera are descendants of some other species.',
    'Natural selection has been the main but not exclusive means of modification of the species.',
  ],
}
const texts = Object.values(books).flat()
const labels = encodeLabels('books', texts.map((text) => (books.melville.includes(text) ? 'melville' : 'darwin')), Object.keys(books)) // prettier-ignore
const data = textDataset({ name: 'books', texts, ...labels })

const tokenizer = buildWordPiece(texts, { size: 200 })
const sizes = { model_type: 'bert', vocab_size: 200, hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4 }
const spec = transformerSpec({ ...sizes, intermediate_size: 64, max_position_embeddings: 64 }, { head: 'classifier', classes: 2 })
console.log(`little BERT: ${parameterCount(spec)} parameters; GPT-2 would have ${parameterCount(transformerSpec('gpt2'))}`)

const [u, z] = [ops.randomUniform([2 ** 16], { seed: 1 }).read(), ops.randomNormal([2 ** 16], { seed: 1, stream: 1 }).read()]
let i = 0
const random = { uniform: () => u[i++ % u.length], normal: () => z[i++ % z.length] }
const info = { name: 'books', task: 'classification', classes: data.classes, history: [] }
const untrained = withTokenizer(new Model(build(spec, freshValues(random)), info), tokenizer)

const losses = []
const { model } = await train(untrained, subset(data, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]), {
  epochs: 15,
  batchSize: 7,
  optimizer: { kind: 'adamw' },
  schedule: { kind: 'linear', lr: 0.003, warmup: 0.1 },
  onEvent: (event) => event.type === 'train-epoch' && losses.push(event.loss),
})
console.log(`loss ${losses[0].toFixed(2)} -> ${losses.at(-1).toFixed(2)} in ${losses.length} epochs`)

const folder = mkdtempSync(join(tmpdir(), 'tersor-example-'))
saveHuggingFace(model, folder)
const loaded = load(folder) // in Python: AutoModelForSequenceClassification.from_pretrained(folder)
console.log(`${readdirSync(folder).join(', ')}`)
rmSync(folder, { recursive: true })
const { accuracy } = await evaluate(loaded, data)
console.log(
  `"${tokenizerOf(loaded).decode(tokenizer.encode('the origin of whales'))}"; right on ${Math.round(accuracy * texts.length)} of ${texts.length} sentences`,
)
