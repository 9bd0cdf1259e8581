/** Regression and translation from the shell: train, evaluate, write, compress, refuse. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { loadModel } from '../../ts/models/file.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { json, succeeds, tempDir, tersor } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)

/** price = 3000 area + 20000 rooms: columns and target of very different size. */
function writeHouses(file: string, size: number, seed: number): string {
  const rng = Rng.of(seed, 'houses')
  const rows = Array.from({ length: size }, () => {
    const [area, rooms] = [30 + 200 * rng.uniform(), 1 + rng.int(8)]
    return `${area.toFixed(1)},${rooms},${Math.round(3000 * area + 20000 * rooms)}`
  })
  fs.writeFileSync(at(file), `area,rooms,price\n${rows.join('\n')}\n`)
  return `csv:${at(file)}`
}

/** Letters to their names. */
function writeSpelling(file: string, size: number): string {
  const rng = Rng.of(1, 'spelling')
  const rows = Array.from({ length: size }, () => {
    const letters = Array.from({ length: 1 + rng.int(3) }, () => 'abc'[rng.int(3)]!)
    return `${letters.join(' ')}\t${letters.map((c) => ({ a: 'ay', b: 'bee', c: 'see' })[c]).join(' ')}`
  })
  fs.writeFileSync(at(file), `letters\tnames\n${rows.join('\n')}\n`)
  return `tsv:${at(file)},source=letters,target=names`
}

interface Evaluated {
  readonly metric: string
  readonly value: number
  readonly n: number
  readonly figures: Readonly<Record<string, number>>
}

describe('regression', () => {
  const data = writeHouses('houses.csv', 400, 1)
  const held = writeHouses('held.csv', 100, 2)
  const model = at('houses.safetensors')
  beforeAll(() =>
    succeeds([
      ...['train', 'mlp', '--data', `${data},target=price`, '--validation', held, '--out', model, '--epochs', '12', '--batch', '16'],
      ...['--loss', 'huber', '--metric', 'pearson', '--keep-best'],
    ]),
  )

  it('learns columns of any size and predicts in the units of the target', async () => {
    const found = await json<Evaluated>(['evaluate', model, '--data', held])
    expect(found).toMatchObject({ metric: 'mse', n: 100 })
    expect(found.figures.r2!).toBeGreaterThan(0.98)
    expect(found.figures.spearman!).toBeGreaterThan(0.98)
    expect(found.figures.mae!).toBeGreaterThan(100)
    const net = loadModel(model)
    expect(net.info).toMatchObject({ task: 'regression', targets: ['price'], normalize: { std: [expect.any(Number), expect.any(Number)] } })
    // At the mean input the mean price, in its own units.
    const price = scope(() => Number(net.forward(tensor(new Float32Array(2), [1, 2])).item()))
    expect(price).toBeGreaterThan(300_000)
    expect(price).toBeLessThan(700_000)
    net.dispose()
  })

  it('reads columns in any order by their names', async () => {
    const [head, ...rows] = fs
      .readFileSync(at('held.csv'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(',').reverse().join(','))
    fs.writeFileSync(at('moved.csv'), [head, ...rows, ''].join('\n'))
    const [plain, moved] = await Promise.all(
      [held, `csv:${at('moved.csv')}`].map((data) => json<Evaluated>(['evaluate', model, '--data', data])),
    )
    expect(moved!.figures).toEqual(plain!.figures)
  })

  it('compresses, measured by the squared error', async () => {
    const out = await json<{ before: { metric: string }; after: { metric: string; value: number } }>([
      ...['compress', model, '--recipe', 'int8-weights', '--data', data, '--validation', held, '--out', at('small.safetensors')],
    ])
    expect(JSON.stringify(out)).toContain('"mse"')
  })

  it('refuses what does not belong', async () => {
    const train = (...more: string[]) => tersor(['train', 'mlp', '--out', at('refused'), '--data', ...more])
    const [loss, hidden, word, width, beam] = await Promise.all([
      train(`${data},target=price`, '--loss', 'l1'),
      train(`${data},target=price`, '--hidden', '3'),
      train(`${data},target=cost`),
      tersor(['evaluate', model, '--data', `csv:${at('held.csv')},target=price+rooms`]),
      tersor(['evaluate', model, '--data', held, '--beam', '2']),
    ])
    expect(loss.stderr).toMatch(/ERR_OPTION: train: --loss must be mse, huber or huber=DELTA, got "l1"/)
    expect(hidden.stderr).toMatch(/ERR_OPTION: train: --hidden is not for regression, which has --loss/)
    expect(word.stderr).toMatch(/ERR_DATA: .*no column "cost"/)
    expect(width.stderr).toMatch(/ERR_DATA: .*the columns are not those of the training: the file lacks "rooms"/)
    expect(beam.stderr).toMatch(/ERR_OPTION: .*--beam is for translators/)
  })
})

describe('translation', () => {
  const pairs = writeSpelling('letters.tsv', 300)
  const model = at('letters.safetensors')
  beforeAll(() =>
    succeeds([
      ...['train', 'seq2seq', '--data', `${pairs},valid=0.2`, '--out', model, '--hidden', '32', '--epochs', '6', '--batch', '4'],
      ...[
        '--lr',
        '0.02',
        '--schedule',
        'constant',
        '--dropout',
        '0',
        '--attention',
        'luong',
        '--decode',
        'wer',
        '--metric',
        'wer',
        '--keep-best',
      ],
    ]),
  )

  it('evaluates what it writes, and writes', async () => {
    const found = await json<Evaluated & { beam: number }>(['evaluate', model, '--data', pairs, '--beam', '2'])
    expect(found).toMatchObject({ metric: 'bleu', n: 300, beam: 2 })
    expect(found.figures.wer!).toBeLessThan(0.3)
    expect(found.figures.cer!).toBeLessThan(0.3)
    const { text } = await json<{ text: string }>(['generate', model, '--prompt', 'b a'])
    expect(text).toMatch(/^(ay|bee|see)( (ay|bee|see))*$/)
  })

  it('compresses, measured by BLEU', async () => {
    const out = await json(['compress', model, '--recipe', 'int8-weights', '--data', `${pairs},valid=0.2`, '--out', at('l8.safetensors')])
    expect(JSON.stringify(out)).toContain('"bleu"')
  })

  it('refuses what does not belong', async () => {
    const [decode, attention, drawn, unknown, task] = await Promise.all([
      tersor(['train', 'seq2seq', '--out', at('refused'), '--data', pairs, '--decode', 'rouge']),
      tersor(['train', 'seq2seq', '--out', at('refused'), '--data', pairs, '--attention', 'none']),
      tersor(['generate', model, '--prompt', 'a', '--top-k', '3']),
      tersor(['generate', model, '--prompt', 'a', '--unknown']),
      tersor(['train', 'seq2seq', '--out', at('refused'), '--data', pairs, '--task', 'regression']),
    ])
    expect(decode.stderr).toMatch(/ERR_OPTION: train: --decode must be one of bleu, cer, wer, none, got "rouge"/)
    expect(attention.stderr).toMatch(/ERR_OPTION: train: --attention must be one of bahdanau, luong/)
    expect(drawn.stderr).toMatch(/ERR_OPTION: .*there are no draws/)
    expect(unknown.stderr).toMatch(/ERR_OPTION: .*--unknown is for language models/)
    expect(task.stderr).toMatch(/ERR_OPTION: train: seq2seq is for translation; --task must be that/)
  })
})
