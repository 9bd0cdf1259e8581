import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isTersorError, type TersorError } from '../../ts/base/errors.js'
import { JsonReader, isWellFormed, parseJson, toPlain } from '../../ts/base/json.js'

function errorOf(run: () => unknown): TersorError {
  try {
    run()
  } catch (error) {
    if (isTersorError(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Without `__proto__` as key: JSON.stringify of an ordinary object cannot hold it apart. */
const anyJson = fc.jsonValue({ maxDepth: 6 }).filter((value) => !JSON.stringify(value).includes('__proto__'))

describe('what it reads', () => {
  test('the same as JSON.parse for every text that JSON.stringify writes', () => {
    fc.assert(
      fc.property(anyJson, fc.constantFrom(undefined, 2, '\t'), (value, space) => {
        const text = JSON.stringify(value, null, space)
        const expected = JSON.parse(text) as unknown // -0 has become 0
        for (const input of [text, bytes(text)]) expect(JSON.parse(JSON.stringify(toPlain(parseJson(input))))).toEqual(expected)
      }),
      { numRuns: 300, seed: 11 },
    )
  })

  test('any text at all: JSON.parse agrees that it is JSON, or the error is typed', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'a',
      '\\u00',
      '0',
      '1',
      '-',
      '.',
      'e',
      '+',
      'true',
      'null',
      ' ',
      '\n',
      'é',
      '"a":',
    )
    const valid = (text: string): boolean => {
      try {
        JSON.parse(text)
        return true
      } catch {
        return false
      }
    }
    let accepted = 0
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(pieces, { maxLength: 8 }).map((list) => list.join('')),
          anyJson.map((v) => JSON.stringify(v).slice(0, -1)),
        ),
        (text) => {
          let ok = true
          try {
            parseJson(bytes(text))
            accepted++
          } catch (error) {
            ok = false
            if (!isTersorError(error)) throw error
            // The only texts that JSON.parse alone accepts: duplicate keys, numbers that overflow, lone surrogates.
            if (valid(text)) expect(['duplicate', 'number', 'encoding']).toContain(error.details.reason)
          }
          if (ok) expect(valid(text)).toBe(true)
        },
      ),
      { numRuns: 3000, seed: 12 },
    )
    expect(accepted).toBeGreaterThan(50)
  })

  test('objects as maps: __proto__ is a key, and stays one in the plain form', () => {
    const map = parseJson('{"__proto__":{"polluted":1},"b":[true,null]}') as Map<string, unknown>
    expect([...map.keys()]).toEqual(['__proto__', 'b'])
    const plain = toPlain(parseJson('{"__proto__":{"polluted":1}}')) as Record<string, unknown>
    expect(Object.getPrototypeOf(plain)).toBe(null)
    expect(Object.keys(plain)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('escapes and characters of every length', () => {
    const text = '"\\u00e9 \\ud83d\\ude00 \\b\\f\\n\\r\\t\\/\\\\\\" é € 😀"'
    expect(parseJson(bytes(text))).toBe('é 😀 \b\f\n\r\t/\\" é € 😀')
  })
})

describe('what it rejects, and where', () => {
  test.each([
    ['', 'syntax', 0],
    ['{"a":1,"a":2}', 'duplicate', 7],
    ['{"a":1,"\\u0061":2}', 'duplicate', 7],
    ['{"é":1,"é":2}', 'duplicate', 8], // bytes, not characters
    ['[1e400]', 'number', 1],
    ['[1] x', 'trailing', 4],
    ['"\\ud800"', 'encoding', 1],
    ['[01]', 'syntax', 2],
    ['[+1]', 'syntax', 1],
    ['[.5]', 'syntax', 1],
    ['[1.]', 'syntax', 2],
    ['[0x10]', 'syntax', 2],
    ['[NaN]', 'syntax', 1],
    ['[Infinity]', 'syntax', 1],
    ['[truth]', 'syntax', 1],
    ["['a']", 'syntax', 1],
    ['{"a" 1}', 'syntax', 5],
    ['"a\tb"', 'syntax', 2],
    ['"\\x"', 'syntax', 1],
    ['\ufeff{}', 'syntax', 0],
    ['[1,]', 'syntax', 3],
  ])('%j: %s at byte %i', (text, reason, byteOffset) => {
    const error = errorOf(() => parseJson(bytes(text)))
    expect(error).toMatchObject({ code: 'ERR_MODEL_FORMAT', details: { reason, byteOffset } })
  })

  test('bytes that are not UTF-8, at their offset', () => {
    for (const bad of [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x80]]) {
      const input = Uint8Array.of(0x22, 0xc3, 0xa9, ...bad, 0x22)
      const error = errorOf(() => parseJson(input))
      expect(error.details).toMatchObject({ reason: 'encoding' })
      expect(error.details.byteOffset).toBeGreaterThanOrEqual(3)
      expect(error.details.byteOffset).toBeLessThan(3 + bad.length)
    }
    expect(errorOf(() => parseJson(Uint8Array.of(0x22, 0xe2, 0x82))).details).toMatchObject({ reason: 'encoding', byteOffset: 2 })
    expect(errorOf(() => parseJson('"\ud800"')).details.reason).toBe('encoding')
  })

  test('line and column, the code and the name that the caller gives', () => {
    const error = errorOf(() => parseJson('{\n  "a": 1,\n  "a": 2\n}', { where: 'recipe.json', code: 'ERR_RECIPE', format: 'recipe' }))
    expect(error).toMatchObject({ code: 'ERR_RECIPE', name: 'RecipeError', details: { format: 'recipe' } })
    expect(error.message).toBe('recipe.json: duplicate key "a" (byte 14, line 3, column 3)')
  })

  test('more than is allowed', () => {
    expect(errorOf(() => parseJson('[[[1]]]', { maxDepth: 2 }))).toMatchObject({
      code: 'ERR_LIMIT',
      details: { limit: 'jsonDepth', max: 2 },
    })
    expect(errorOf(() => parseJson('[1,2,3]', { maxItems: 2 }))).toMatchObject({
      code: 'ERR_LIMIT',
      details: { limit: 'jsonItems', max: 2 },
    })
    for (const text of ['"abcde"', '"\\u0061bcde"'])
      expect(errorOf(() => parseJson(text, { maxString: 4 }))).toMatchObject({
        code: 'ERR_LIMIT',
        details: { limit: 'jsonString', max: 4 },
      })
  })
})

describe('the cursor', () => {
  const integer = (text: string, ...range: number[]): number => new JsonReader(text).integer(...range)

  test('integers are exact or rejected', () => {
    expect(integer('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER)
    expect(integer('-5', -10, 10)).toBe(-5)
    for (const text of ['9007199254740992', '9007199254740993', '1.0', '1e2', '-0', '-1', '1'.repeat(1000), '0.5'])
      expect(errorOf(() => integer(text)).details.reason, text).toBe('integer')
    expect(errorOf(() => integer('11', 0, 10)).details.reason).toBe('integer')
    expect(errorOf(() => integer('"1"')).details.reason).toBe('syntax')
  })

  test('walks a known structure', () => {
    const reader = new JsonReader('{"a": [1, 2], "b": "c"}  ')
    const seen: unknown[] = []
    reader.object((key) => {
      if (key === 'a') reader.array((i) => seen.push([i, reader.integer()]))
      else seen.push([key, reader.string()])
    })
    reader.end('spaces')
    expect(seen).toEqual([
      [0, 1],
      [1, 2],
      ['b', 'c'],
    ])
  })

  test('isWellFormed', () => {
    expect(['a', '', '😀'].map(isWellFormed)).toEqual([true, true, true])
    expect(['\ud800', '\udc00', 'a\ud800b', '\ude00\ud83d'].map(isWellFormed)).toEqual([false, false, false, false])
  })
})
