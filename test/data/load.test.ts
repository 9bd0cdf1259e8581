import fs from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { countClasses, subset, type Dataset, type NumberDataset, type TextDataset } from '../../ts/data/dataset.js'
import { loadData } from '../../ts/data/load.js'
import { encodeIdx } from '../../ts/formats/idx.js'
import { writeNpz } from '../../ts/formats/npz.js'
import { rejectionOf, tempDir } from '../formats/lib.js'

function put(content: string | Uint8Array, name = 'data.csv'): string {
  const file = path.join(tempDir(), name)
  fs.writeFileSync(file, content)
  return file
}
const numbers = async (spec: string, options = {}): Promise<NumberDataset> => (await loadData(spec, options)) as NumberDataset
const texts = async (spec: string, options = {}): Promise<TextDataset> => (await loadData(spec, options)) as TextDataset
const everything = (d: Dataset): number[] => Array.from({ length: d.size }, (_, i) => i)

describe('csv', () => {
  test('numbers and a label of words, in any column', async () => {
    const file = put('a,species,b\n1,setosa,2.5\n-3e2,virginica,.5\n+4, setosa ,6\n')
    const data = await numbers(`csv:${file},label=species`)
    expect(data).toMatchObject({ kind: 'classification', input: 'numbers', size: 3, inputShape: [2], classes: ['setosa', 'virginica'] })
    expect([...data.labels]).toEqual([0, 1, 0])
    const batch = data.batch([2, 0])
    expect([...batch.x]).toEqual([4, 6, 1, 2.5])
    expect(batch).toMatchObject({ shape: [2, 2] })
    expect([...batch.labels]).toEqual([0, 0])
  })

  test('label: by default "label", else the last column; numeric classes in numeric order', async () => {
    const last = await numbers(`csv:${put('x,y\n1,10\n2,9\n3,10\n')}`)
    expect(last.classes).toEqual(['9', '10'])
    expect([...last.labels]).toEqual([1, 0, 1])
    const inputNames = ['x', 'y']
    const moved = await numbers(`csv:${put('y,kind,x\n10,b,1\n9,a,2\n')}`, { inputNames })
    expect([[...moved.batch([0, 1]).x], moved.classes, moved.inputNames]).toEqual([[1, 10, 2, 9], ['a', 'b'], inputNames])
    const named = await numbers(`csv:${put('label,x\nb,1\na,2\n')}`)
    expect(named.classes).toEqual(['a', 'b'])
  })

  test('without a header, by number', async () => {
    const data = await numbers(`csv:${put('7,1,2\n8,3,4\n')},header=no,label=0`)
    expect(data.classes).toEqual(['7', '8'])
    expect([...data.batch(everything(data)).x]).toEqual([1, 2, 3, 4])
  })

  test('quotes, line ends within, CRLF, byte order mark, empty lines', async () => {
    const file = put('\ufefftext,label\r\n"one, ""two""\nthree",a\r\n\r\nplain,b\r\n')
    const data = await texts(`csv:${file},text=text`)
    expect(data.texts).toEqual(['one, "two"\nthree', 'plain'])
  })

  test('the classes of a model give the numbers', async () => {
    const file = put('x,label\n1,b\n2,c\n')
    const data = await numbers(`csv:${file}`, { classes: ['a', 'b', 'c'] })
    expect([...data.labels]).toEqual([1, 2])
    const error = await rejectionOf(() => loadData(`csv:${file}`, { classes: ['a', 'b'] }))
    expect(error).toMatchObject({ code: 'ERR_DATA', details: { row: 1, value: 'c' } })
    expect(error.message).toContain('is not one of the classes: a, b')
  })

  test.each([
    ['a missing number', 'x,label\n1,a\n,b\n', 3, 'x', 'the value is missing'],
    ['NaN', 'x,label\nNaN,a\n', 2, 'x', '"NaN" is not a finite number'],
    ['nan', 'x,label\nnan,a\n', 2, 'x', 'not a finite number'],
    ['Infinity', 'x,label\n-Infinity,a\n', 2, 'x', 'not a finite number'],
    ['beyond single precision', 'x,label\n1e39,a\n', 2, 'x', 'not a finite number'],
    ['hexadecimal', 'x,label\n0x10,a\n', 2, 'x', 'not a finite number'],
    ['a word', 'x,label\n1,a\ntwo,b\n', 3, 'x', '"two" is not a finite number'],
    ['a comma for a point', 'x,label\n"1,5",a\n', 2, 'x', 'not a finite number'],
    ['a missing label', 'x,label\n1, \n', 2, 'label', 'the label is missing'],
  ])('%s is an error that names line and column', async (_, content, row, column, message) => {
    const error = await rejectionOf(() => loadData(`csv:${put(content)}`))
    expect(error).toMatchObject({ code: 'ERR_DATA', details: { row, column } })
    expect(error.message).toContain(message)
    expect(error.message).toContain(`line ${row}, column "${column}"`)
  })

  test.each([
    ['rows of different length', 'x,label\n1,a\n1,2,a\n', 'line 3'],
    ['a quote that does not close', 'x,label\n"1,a\n', 'Quote'],
    ['no rows', 'x,label\n', 'there are no samples'],
    ['nothing', '', 'there are no samples'],
    ['a column twice', 'x,x,label\n1,2,a\n', 'column "x" stands twice'],
    ['no such column', 'x,y\n1,2\n', 'there is no column "z" for label=; the file has "x", "y"', ',label=z'],
    ['column number too high', 'x,y\n1,2\n', 'there is no column "2"', ',label=2'],
    ['text and label the same', 'x,y\n1,2\n', 'the same column', ',label=x,text=x'],
    ['not UTF-8', Uint8Array.from(Buffer.from('x,label\n1,\xff\n', 'latin1')), 'not UTF-8'],
    ['UTF-8 cut off', Uint8Array.from(Buffer.from('x,label\n1,\xe2\x82', 'latin1')), 'not UTF-8'],
  ])('%s', async (_, content, message, options = '') => {
    const error = await rejectionOf(() => loadData(`csv:${put(content)}${options}`))
    expect(error.code).toBe('ERR_DATA')
    expect(error.message).toContain(message)
  })

  test('a large file streams; a character across the border of two pieces stays whole', async () => {
    const row = `"${'é€😀'.repeat(300)}",a\n`
    const data = await texts(`csv:${put('text,label\n' + row.repeat(400))},text=text`)
    expect(data.size).toBe(400)
    expect(new Set(data.texts).size).toBe(1)
    expect(data.texts[0]).toBe('é€😀'.repeat(300))
  })

  test('can be cancelled, before and while reading', async () => {
    const file = put('x,label\n' + '1,a\n'.repeat(400_000))
    expect(await rejectionOf(() => loadData(`csv:${file}`, { signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ERR_ABORTED',
      name: 'AbortError',
    })
    expect(await rejectionOf(() => loadData(`csv:${file}`, { signal: AbortSignal.timeout(20) }))).toMatchObject({ code: 'ERR_ABORTED' })
  })

  test('missing file, folder', async () => {
    expect(await rejectionOf(() => loadData('csv:/no/such.csv'))).toMatchObject({ code: 'ERR_IO', details: { errno: 'ENOENT' } })
    expect(await rejectionOf(() => loadData(`csv:${tempDir()}`))).toMatchObject({ code: 'ERR_IO', details: { errno: 'EISDIR' } })
  })
})

describe('tsv', () => {
  test('texts; a quote is an ordinary character unless asked for', async () => {
    const file = put('label\ttext\nspam\t"Buy" now\nham\tHello, "you\n', 'a.tsv')
    const data = await texts(`tsv:${file}`)
    expect(data).toMatchObject({ input: 'text', classes: ['ham', 'spam'] })
    expect(data.texts).toEqual(['"Buy" now', 'Hello, "you'])
    expect(data.batch([1]).texts).toEqual(['Hello, "you'])
    const quoted = await texts(`tsv:${put('text\tlabel\n"a\tb"\tx\n', 'b.tsv')},quote=yes`)
    expect(quoted.texts).toEqual(['a\tb'])
  })
  test('without the columns it needs, it says which there are', async () => {
    const error = await rejectionOf(() => loadData(`tsv:${put('mail\tkind\nx\ty\n', 'a.tsv')}`))
    expect(error.message).toMatch(/there is no column "(label|text)" for (label|text)=; the file has "mail", "kind"/)
  })
  test('an empty text', async () => {
    expect(await rejectionOf(() => loadData(`tsv:${put('text\tlabel\n \tx\n', 'a.tsv')}`))).toMatchObject({
      code: 'ERR_DATA',
      details: { row: 2, column: 'text' },
    })
  })
})

describe('idx', () => {
  const images: RawTensor = { dtype: 'u8', shape: [3, 2, 2], data: Uint8Array.from([0, 51, 102, 255, 1, 2, 3, 4, 5, 6, 7, 8]) }
  const labels: RawTensor = { dtype: 'u8', shape: [3], data: Uint8Array.of(2, 0, 2) }
  function folder(prefix: string, names: [string, string], compress = false): string {
    const dir = tempDir()
    const bytes = [images, labels].map((t) => (compress ? gzipSync(encodeIdx(t)) : encodeIdx(t)))
    names.forEach((name, i) => fs.writeFileSync(path.join(dir, `${prefix}-${name}`), bytes[i]!))
    return dir
  }

  test.each([
    ['train', ['images-idx3-ubyte', 'labels-idx1-ubyte'], 'train', false],
    ['train', ['images.idx3-ubyte', 'labels.idx1-ubyte'], 'train', false],
    ['train', ['images-idx3-ubyte.gz', 'labels-idx1-ubyte.gz'], 'train', true],
    ['t10k', ['images-idx3-ubyte', 'labels-idx1-ubyte'], 'test', false],
    ['test', ['images-idx3-ubyte.gz', 'labels-idx1-ubyte.gz'], 'test', true],
  ])('%s %j', async (prefix, names, split, compress) => {
    const data = await numbers(`idx:${folder(prefix, names as [string, string], compress)},split=${split}`)
    expect(data).toMatchObject({ size: 3, inputShape: [1, 2, 2], classes: ['0', '1', '2'] })
    expect([...data.labels]).toEqual([2, 0, 2])
    expect([...data.batch([0]).x].map((v) => Math.round(v * 1000) / 1000)).toEqual([0, 0.2, 0.4, 1])
    expect(data.batch([0, 2]).shape).toEqual([2, 1, 2, 2])
    expect(countClasses(data)).toEqual([1, 0, 2])
  })

  test('a folder without the split says what is there', async () => {
    const dir = folder('train', ['images-idx3-ubyte', 'labels-idx1-ubyte'])
    const error = await rejectionOf(() => loadData(`idx:${dir},split=test`))
    expect(error.code).toBe('ERR_DATA')
    expect(error.message).toContain('t10k-images-idx3-ubyte[.gz] is needed, found train-images-idx3-ubyte')
    expect((await rejectionOf(() => loadData('idx:/no/such'))).code).toBe('ERR_IO')
  })

  test('images and labels that do not belong together', async () => {
    const dir = folder('train', ['images-idx3-ubyte', 'labels-idx1-ubyte'])
    fs.writeFileSync(path.join(dir, 'train-labels-idx1-ubyte'), encodeIdx({ dtype: 'u8', shape: [2], data: new Uint8Array(2) }))
    const error = await rejectionOf(() => loadData(`idx:${dir}`))
    expect(error).toMatchObject({ code: 'ERR_DATA' })
    expect(error.message).toContain('3 rows of features but 2 labels')
  })

  test('a truncated or changed file is refused', async () => {
    const dir = folder('train', ['images-idx3-ubyte', 'labels-idx1-ubyte'])
    const file = path.join(dir, 'train-images-idx3-ubyte')
    fs.truncateSync(file, 20)
    expect((await rejectionOf(() => loadData(`idx:${dir}`))).code).toBe('ERR_MODEL_FORMAT')
  })
})

describe('npz', () => {
  const f32 = (shape: number[], ...v: number[]): RawTensor => ({ dtype: 'f32', shape, data: new Uint8Array(new Float32Array(v).buffer) })
  const f64 = (shape: number[], ...v: number[]): RawTensor => ({ dtype: 'f64', shape, data: new Uint8Array(new Float64Array(v).buffer) })
  const i64 = (...v: bigint[]): RawTensor => ({ dtype: 'i64', shape: [v.length], data: new Uint8Array(new BigInt64Array(v).buffer) })
  function file(tensors: Record<string, RawTensor>): string {
    const at = path.join(tempDir(), 'a.npz')
    writeNpz(at, Object.entries(tensors), { compress: true })
    return at
  }

  test('usual names, other names, double precision, division', async () => {
    const data = await numbers(`npz:${file({ x: f64([2, 3], 1, 2, 3, 4, 5, 6), y: i64(1n, 0n) })}`)
    expect(data).toMatchObject({ size: 2, inputShape: [3], classes: ['0', '1'] })
    expect([...data.batch([1]).x]).toEqual([4, 5, 6])
    const bytes: RawTensor = { dtype: 'u8', shape: [1, 2, 2], data: Uint8Array.of(0, 51, 102, 255) }
    const other = await numbers(`npz:${file({ pictures: bytes, kind: f32([1, 1], 0) })},x=pictures,y=kind,divide=51`)
    expect(other.inputShape).toEqual([2, 2])
    expect([...other.batch([0]).x]).toEqual([0, 1, 2, 5])
  })

  test.each([
    ['NaN in the features', { x: f32([2, 2], 1, 2, NaN, 4), y: i64(0n, 1n) }, 'row 1, column 0 is NaN'],
    ['infinity in doubles', { x: f64([1, 2], 1, Infinity), y: i64(0n) }, 'row 0, column 1 is Infinity'],
    ['a double beyond single precision', { x: f64([1, 2], 1, 1e300), y: i64(0n) }, 'row 0, column 1'],
    ['a negative label', { x: f32([1, 1], 1), y: i64(-1n) }, 'labels must be integers >= 0, row 0 is -1'],
    ['a label that is no integer', { x: f32([1, 1], 1), y: f32([1], 0.5) }, 'row 0 is 0.5'],
    ['a label of 2^40', { x: f32([1, 1], 1), y: i64(2n ** 40n) }, 'row 0'],
    ['labels of rank 2', { x: f32([1, 1], 1), y: f32([1, 2], 1, 0) }, 'labels must have the shape [n] or [n, 1]'],
    ['features of rank 1', { x: f32([2], 1, 2), y: i64(0n, 1n) }, 'at least 2 dimensions'],
    ['no samples', { x: f32([0, 2]), y: i64() }, 'there are no samples'],
    ['no features', { z: f32([1, 2], 1, 2), y: i64(0n) }, 'no features (x, X, x_train, data, features, images); the file has z, y'],
    ['no labels', { x: f32([1, 2], 1, 2) }, 'no labels'],
  ])('%s', async (_, tensors, message) => {
    const error = await rejectionOf(() => loadData(`npz:${file(tensors)}`))
    expect(error.code).toBe('ERR_DATA')
    expect(error.message).toContain(message)
  })
})

test('subsets share numbers and copy texts; wrong indices are refused', async () => {
  const data = await numbers(`csv:${put('x,label\n10,a\n20,b\n30,a\n')}`)
  const part = subset(data, [2, 0])
  expect(part).toMatchObject({ size: 2, classes: ['a', 'b'] })
  expect([...part.batch([0, 1]).x]).toEqual([30, 10])
  expect([...subset(part, [1]).batch([0]).x]).toEqual([10])
  expect((await rejectionOf(() => Promise.resolve().then(() => part.batch([2])))).code).toBe('ERR_OPTION')
  expect((await rejectionOf(() => Promise.resolve().then(() => subset(data, [3])))).code).toBe('ERR_OPTION')
  const text = subset(await texts(`tsv:${put('text\tlabel\nx\ta\ny\tb\n', 'a.tsv')}`), [1])
  expect(text).toMatchObject({ size: 1, texts: ['y'] })
})
