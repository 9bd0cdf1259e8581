/** Numbers to predict and pairs of texts: what is read, what is held out, what is refused. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadPairs, loadTargets } from '../../ts/data/index.js'
import { writeNpz } from '../../ts/formats/npz.js'
import { tempDir } from '../formats/lib.js'

const dir = tempDir()
const put = (name: string, text: string): string => {
  fs.writeFileSync(path.join(dir, name), text)
  return path.join(dir, name)
}
const refused = (promise: Promise<unknown>, code: string, why: RegExp): Promise<void> =>
  expect(promise).rejects.toMatchObject({ code, message: expect.stringMatching(why) as string })

describe('targets', () => {
  const file = put('h.csv', 'area,price,rooms,tax\n30,1.5,2,7\n40,2.5,3,8\n')

  it('columns by name or number, one or several, by default the label column', async () => {
    const one = await loadTargets(`csv:${file},target=price`)
    expect(one).toMatchObject({ inputShape: [3], outputs: 1, columns: ['price'] })
    expect([[...one.features], [...one.targets]]).toEqual([
      [30, 2, 7, 40, 3, 8],
      [1.5, 2.5],
    ])
    const two = await loadTargets({ format: 'csv', path: file, target: 'tax+1' })
    expect([two.columns, [...two.targets], [...two.features]]).toEqual([
      ['tax', 'price'],
      [7, 1.5, 8, 2.5],
      [30, 2, 40, 3],
    ])
    expect((await loadTargets(`csv:${file}`)).columns).toEqual(['tax'])
    // A "+" in a name is no separator.
    const plus = put('plus.tsv', 'a+b\tc\n1\t2\n')
    expect([...(await loadTargets(`tsv:${plus},target=a+b`)).targets]).toEqual([1])
  })

  it('finds the columns of a model by name, in its order', async () => {
    const inputNames = ['area', 'tax']
    const moved = put('moved.csv', 'tax,price,area\n7,1.5,30\n8,2.5,40\n')
    const found = await loadTargets(`csv:${moved},target=price`, { inputNames })
    expect([found.inputNames, [...found.features]]).toEqual([inputNames, [30, 7, 40, 8]])
    // Without target= the one column that is no input is predicted, not the last.
    expect((await loadTargets(`csv:${moved}`, { inputNames })).columns).toEqual(['price'])
    await refused(loadTargets(`csv:${file},target=price`, { inputNames }), 'ERR_DATA', /has "rooms" beside them/)
    await refused(
      loadTargets(`csv:${moved},target=price`, { inputNames: ['area', 'rooms'] }),
      'ERR_DATA',
      /lacks "rooms" and has "tax" beside them/,
    )
    const bare = put('bare.csv', '7,1.5,30\n')
    const byPlace = await loadTargets(`csv:${bare},header=no,target=1`, { inputNames })
    expect([byPlace.inputNames, [...byPlace.features]]).toEqual([undefined, [7, 30]])
  })

  it('arrays: y [n] or [n, outputs]', async () => {
    const data = (values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
    const npz = path.join(dir, 'a.npz')
    writeNpz(npz, [
      ['x', { dtype: 'f32', shape: [2, 3], data: data([1, 2, 3, 4, 5, 6]) }],
      ['y', { dtype: 'f32', shape: [2, 2], data: data([-1, 0.5, 2, 3]) }],
      ['z', { dtype: 'f32', shape: [3], data: data([1, 2, 3]) }],
    ])
    const found = await loadTargets(`npz:${npz},divide=2`)
    expect([found.outputs, [...found.features], [...found.targets]]).toEqual([2, [0.5, 1, 1.5, 2, 2.5, 3], [-1, 0.5, 2, 3]])
    await refused(loadTargets(`npz:${npz},y=z`), 'ERR_DATA', /\[3\] and \[2, 3\]/)
  })

  it('refuses what is no number, no column, no sample', async () => {
    await refused(loadTargets(`csv:${put('t.csv', 'a,b\n1,red\n')}`), 'ERR_DATA', /line 2, column "b": "red" is not a finite number/)
    await refused(loadTargets(`csv:${put('e.csv', 'a,b\n1,\n')}`), 'ERR_DATA', /line 2, column "b": the value is missing/)
    await refused(loadTargets(`csv:${file},target=cost`), 'ERR_DATA', /no column "cost" for target=; the file has "area"/)
    await refused(loadTargets(`csv:${file},target=tax+tax`), 'ERR_DATA', /"tax" twice/)
    await refused(loadTargets(`csv:${file},target=area+price+rooms+tax`), 'ERR_DATA', /no column is left/)
    await refused(loadTargets(`csv:${put('n.csv', 'a,b\n')}`), 'ERR_DATA', /no samples/)
    await refused(loadTargets(`csv:${file},text=area`), 'ERR_OPTION', /text= is for classification/)
    // One of them would be read for nothing: the other column would become a feature.
    await refused(loadTargets(`csv:${file},target=price,label=tax`), 'ERR_OPTION', /target= and label= both name what is predicted/)
    await refused(loadTargets(`idx:${dir}`), 'ERR_OPTION', /has classes/)
  })
})

describe('pairs', () => {
  const lines = (of: (i: number) => string): string => Array.from({ length: 40 }, (_, i) => `${of(i)}\n`).join('')
  const en = put(
    'a.en',
    lines((i) => `word${i % 7} good day`),
  )
  const de = put(
    'a.de',
    lines((i) => `guten Tag wort${i % 7}`),
  )
  const table = put('a.tsv', `de\ten\n${lines((i) => `guten Tag\tgood day ${i}`)}`)

  it('two files or two columns; a share is held out, always the same', async () => {
    const files = await loadPairs(`parallel:${en},target=${de},valid=0.25`)
    expect([files.train.length, files.valid.length, files.leftOut]).toEqual([30, 10, 0])
    expect(files.target.decode(files.train[0]![1])).toMatch(/^guten Tag wort\d$/)
    expect(files.source.tokens.slice(0, 4)).toEqual(['<pad>', '<begin>', '<end>', '<unk>'])
    expect((await loadPairs(`parallel:${en},target=${de},valid=0.25`)).valid).toEqual(files.valid)
    const columns = await loadPairs(`tsv:${table},source=en,target=de,sourceLevel=character,valid=0`)
    expect(columns.train.length).toBe(40)
    expect([columns.source.rules.level, columns.target.rules.level]).toEqual(['character', 'word'])
    // Columns that are not named: the first two.
    expect((await loadPairs(`tsv:${table},valid=0`)).source.id('guten')).toBeGreaterThan(3)
  })

  it('vocabularies of a model encode other texts; marks in a text are unknown words', async () => {
    const { source, target } = await loadPairs(`parallel:${en},target=${de},words=spaces`)
    const odd = put('odd.tsv', 'source\ttarget\nsplendid day <end>\tguten\n\tTag\n')
    const found = await loadPairs(`tsv:${odd},valid=0`, { vocabularies: { source, target } })
    expect([...found.train[0]![0]]).toEqual([3, source.id('day'), 3])
    expect(found.leftOut).toBe(1)
    await refused(loadPairs(`tsv:${odd},level=word`, { vocabularies: { source, target } }), 'ERR_OPTION', /level belongs to vocabularies/)
  })

  it('refuses files that are not parallel, no pairs, one column twice', async () => {
    await refused(loadPairs(`parallel:${en},target=${put('short.de', 'eins\n')}`), 'ERR_DATA', /has 40 lines, .* 1: they must be parallel/)
    await refused(loadPairs(`parallel:${en}`), 'ERR_OPTION', /target=FILE is needed/)
    await refused(loadPairs(`tsv:${table},source=en,target=en`), 'ERR_DATA', /same column/)
    await refused(loadPairs(`tsv:${table},maxLength=1`), 'ERR_DATA', /no pair to train on \(40 of 40 left out/)
    await refused(loadPairs('pairs:x'), 'ERR_OPTION', /parallel:FILE,target=FILE/)
  })
})
