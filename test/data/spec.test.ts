import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { csv, formatDataSpec, idx, npz, parseDataSpec, tsv, type DataSpec } from '../../ts/data/spec.js'
import { errorOf } from '../formats/lib.js'

describe('data specs', () => {
  test.each<[string, DataSpec]>([
    ['idx:data/mnist', idx('data/mnist')],
    ['idx:data,split=test', idx('data', { split: 'test' })],
    ['npz:a.npz,x=images,y=digits,divide=255', npz('a.npz', { x: 'images', y: 'digits', divide: 255 })],
    ['csv:iris.csv', csv('iris.csv')],
    ['csv:iris.csv,label=species,header=no', csv('iris.csv', { label: 'species', header: false })],
    ['tsv:mails.tsv,text=body,label=2,quote=yes', tsv('mails.tsv', { text: 'body', label: '2', quote: true })],
    ['csv:C:\\data\\a,b.csv,label=x', csv('C:\\data\\a,b.csv', { label: 'x' })],
    ['csv:with,comma', csv('with,comma')],
    ['csv:a=b.csv', csv('a=b.csv')],
  ])('%s', (text, spec) => {
    expect(parseDataSpec(text)).toEqual(spec)
    expect(parseDataSpec(formatDataSpec(spec))).toEqual(spec)
  })

  test('text and object say the same', () => {
    const word = fc.stringMatching(/^[a-z/.]{1,8}$/)
    fc.assert(
      fc.property(word, fc.option(word), fc.option(word), fc.option(fc.boolean()), (path, text, label, header) => {
        const spec = tsv(path, { ...(text ? { text } : {}), ...(label ? { label } : {}), ...(header === null ? {} : { header }) })
        expect(parseDataSpec(formatDataSpec(spec))).toEqual(spec)
      }),
      { numRuns: 200, seed: 21 },
    )
  })

  test.each([
    ['mnist', 'no format before a ":"'],
    ['', 'no format before a ":"'],
    ['parquet:x', 'format "parquet" is unknown'],
    ['__proto__:x', 'format "__proto__" is unknown'],
    [':x', 'format "" is unknown'],
    ['csv:', 'the path is missing'],
    ['csv:,label=x', 'the path is missing'],
    ['csv:x,lable=y', 'option "lable" is unknown, csv has label, text, target, header, quote'],
    ['csv:x,constructor=y', 'option "constructor" is unknown'],
    ['idx:x,split=validation', 'option "split" cannot be "validation"'],
    ['idx:x,split=test,split=train', 'option "split" stands twice'],
    ['npz:x,divide=0', 'option "divide" cannot be "0"'],
    ['npz:x,divide=ten', 'option "divide" cannot be "ten"'],
    ['csv:x,header=maybe', 'option "header" cannot be "maybe"'],
    ['csv:x,label=', 'option "label" cannot be ""'],
  ])('%j is refused and told what is accepted', (text, message) => {
    const error = errorOf(() => parseDataSpec(text))
    expect(error.code).toBe('ERR_OPTION')
    expect(error.message).toContain(message)
    for (const usage of ['idx:DIR', 'npz:FILE', 'csv:FILE', 'tsv:FILE']) expect(error.message).toContain(usage)
  })
})
