/**
 * Wrong inputs: every op x every argument x a table of bad values. Each cell must end in a typed error with the expected code (or succeed
 * where the value happens to be valid), leave no memory behind, and leave the op usable.
 */
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isTersorError } from '../../ts/base/errors.js'
import { dtypes } from '../../ts/base/dtype.js'
import { memory, setMemoryBudget } from '../../ts/native/devices.js'
import { callOp, callOpAsync, scope, tensor, zeros, Tensor } from '../../ts/tensor/index.js'
import { cases, type OpCase } from './cases.js'

/** What a cell may end in: one code, or 'ok' among several. */
type Want = readonly string[]
interface Cell {
  readonly what: string
  readonly value: () => unknown
  readonly want: Want
}

const option: Want = ['ERR_OPTION']
const disposed = (): Tensor => {
  const t = zeros([1])
  t.dispose()
  return t
}
const cells = (values: readonly unknown[], want: Want): Cell[] => values.map((v) => ({ what: inspect(v), value: () => v, want }))

const noNumbers = ['4', 4n, null, undefined, true, {}, [4], Symbol.iterator]
const range: Want = ['ok', 'ERR_OPTION', 'ERR_SHAPE', 'ERR_LIMIT', 'ERR_MEMORY_BUDGET', 'ERR_MODEL_FORMAT']

const plain: Readonly<Record<string, readonly Cell[]>> = {
  I: [
    ...cells([...noNumbers, NaN, Infinity, -Infinity, 1.5, 2 ** 53 + 2, -(2 ** 60), 1e300], option),
    ...cells([-1, 2 ** 31, 2 ** 32 + 1, 2 ** 40, 2 ** 53, -(2 ** 53), -(2 ** 31)], range),
  ],
  F: [...cells(noNumbers, option), ...cells([NaN, Infinity, -Infinity, -1, 0, 1e308, 5e-324], ['ok', 'ERR_OPTION'])],
  B: cells([0, 1, 'true', null, undefined, {}, 1n], option),
  L: [
    ...cells(
      [
        5,
        null,
        undefined,
        '1,2',
        {},
        { length: 1, 0: 1 },
        new Int32Array(2),
        [NaN],
        [1.5],
        ['1'],
        [1n],
        [null],
        [2 ** 53 + 2],
        [Infinity],
        [[1]],
      ],
      option,
    ),
    ...cells([[1, 1, 1, 1, 1, 1, 1, 1, 1]], ['ERR_SHAPE']),
    ...cells(
      [
        [],
        [1],
        [1, 1, 1, 1, 1],
        [-1, -1],
        [-1, -1, -1, -1],
        [0, 0],
        [0, 0, 0, 0],
        [2 ** 40, 2 ** 40],
        [2 ** 31, 1, 1, 1],
        [2 ** 53, 2 ** 53, 2 ** 53, 2 ** 53],
        [7, 7],
      ],
      range,
    ),
  ],
  D: cells(['f99', '', 5, null, undefined, '__proto__', 'toString', {}], option),
  E: cells(['other', '', 5, null, undefined, '__proto__', {}], option),
}

/** Codes that data may earn when an argument gets other values or another type than it should have. */
const unfit: Want = ['ok', 'ERR_DTYPE', 'ERR_OPTION', 'ERR_MODEL_FORMAT', 'ERR_NUMERIC']
const misshapen: Want = ['ok', 'ERR_SHAPE', 'ERR_OPTION', 'ERR_MODEL_FORMAT', 'ERR_NUMERIC']

function tensorCells(c: OpCase, at: number): readonly Cell[] {
  const t = c.samples('f32')[0]![at] as Tensor | null
  const optional = c.row.params[at]![0] === 'O'
  const shape = t ? t.shape : [2]
  const type = t ? t.dtype : 'f32'
  const no = [5, NaN, 'x', 1n, true, {}, [], Symbol.iterator, { handle: 'x' }, ...(optional ? [] : [null, undefined])]
  return [
    ...cells(no, option),
    { what: 'a disposed tensor', value: disposed, want: ['ERR_DISPOSED'] },
    ...cells([{ handle: NaN }, { handle: 0 }, { handle: -1 }, { handle: 2 ** 53 }, { handle: 1.5 }], ['ERR_DISPOSED']),
    ...dtypes.filter((d) => d !== type).map((d) => ({ what: d, value: () => zeros(shape, d), want: unfit })),
    ...[[], [0], [1, 1, 1, 1, 1, 1, 1, 1], [...shape, 1], [...shape, 3], shape.slice(1), shape.map((d) => d + 1), shape.map(() => 0)].map(
      (s) => ({
        what: `shape [${s.join(',')}]`,
        value: () => (s.length > 8 ? disposed() : zeros(s, type)),
        want: s.length > 8 ? ['ERR_DISPOSED'] : misshapen,
      }),
    ),
    ...shape.map((_, axis) => ({
      what: `dimension ${axis} + 1`,
      value: () =>
        zeros(
          shape.map((d, i) => (i === axis ? d + 1 : d)),
          type,
        ),
      want: misshapen,
    })),
  ]
}

let tried = 0

function outcome(run: () => readonly Tensor[]): string {
  try {
    for (const t of run()) t.dispose()
    return 'ok'
  } catch (e) {
    return isTersorError(e) ? e.code : `untyped: ${String(e)}`
  }
}

beforeAll(() => setMemoryBudget(memory().bytes + 2 ** 26))
afterAll(() => setMemoryBudget(0))

describe.each(cases.map((c) => [c.name, c] as const))('%s', (name, c) => {
  it.each(c.row.params.map(([kind, param], i) => [param, kind, i] as const))('%s', (param, kind, at) => {
    scope(() => {
      const list = plain[kind] ?? tensorCells(c, at)
      const wrong: string[] = []
      for (const cell of list) {
        // In-place ops may change a tensor when the value is valid: each cell has its own.
        scope(() => {
          const args = c.samples('f32')[0]!.with(at, cell.value())
          const before = memory()
          const got = outcome(() => callOp(name, args))
          const after = memory()
          tried++
          if (!cell.want.includes(got)) wrong.push(`${cell.what}: ${got}, expected ${cell.want.join(' or ')}`)
          if (after.bytes !== before.bytes || after.tensors !== before.tensors)
            wrong.push(`${cell.what}: left ${after.bytes - before.bytes} bytes`)
        })
      }
      expect(wrong, `${name}: ${param}`).toEqual([])
    })
  })

  it('missing arguments', () =>
    scope(() => {
      const args = c.samples('f32')[0]!
      for (let n = 0; n < args.length; n++) {
        // Optional tensors at the end may be left out.
        if (c.row.params.slice(n).every(([kind]) => kind === 'O')) continue
        expect(
          outcome(() => callOp(name, args.slice(0, n))),
          `${n} arguments`,
        ).toBe('ERR_OPTION')
        tried++
      }
      expect(outcome(() => callOp(name, args))).toBe('ok')
    }))

  it('asynchronous calls reject with the same code', async () => {
    const args = c.samples('f32')[0]!
    for (let at = 0; at < args.length; at++) {
      const [kind] = c.row.params[at]!
      const bad = kind === 'T' || kind === 'O' || kind === 'M' ? disposed() : {}
      const want = outcome(() => callOp(name, args.with(at, bad)))
      await expect(callOpAsync(name, args.with(at, bad))).rejects.toMatchObject({ code: want })
      tried++
    }
    for (const a of args) if (a instanceof Tensor) a.dispose()
  })
})

describe('values that data forbid', () => {
  const i32 = (...v: number[]): Tensor => tensor(Int32Array.from(v))
  it.each([
    ['gather', () => [tensor([1, 2]), i32(2)]],
    ['gather', () => [tensor([1, 2]), i32(-1)]],
    ['scatter_add', () => [tensor([1]), i32(3), 3]],
    ['one_hot', () => [i32(3), 3]],
    ['one_hot', () => [i32(-(2 ** 31)), 3]],
    ['cross_entropy', () => [tensor([[1, 2]]), i32(2)]],
    ['cross_entropy_grad', () => [tensor([[1, 2]]), i32(2), tensor([1])]],
    ['max_unpool2d', () => [tensor([[[[1]]]]), tensor(Int32Array.of(4), [1, 1, 1, 1]), [1, 1, 2, 2]]],
    ['pool_select2d', () => [tensor([[[[1]]]]), tensor(Int32Array.of(-1), [1, 1, 1, 1])]],
  ] as const)('%s refuses an index out of range', (op, args) =>
    scope(() => {
      expect(outcome(() => callOp(op, args()))).toBe('ERR_SHAPE')
    }),
  )

  it.each([
    ['first offset not 0', [1, 1], [0]],
    ['falling offsets', [0, 2, 1], [0, 1]],
    ['last offset not nnz', [0, 5], [0]],
    ['negative offset', [0, -1, 1], [0]],
  ])('csr_linear refuses %s', (_, indptr, columns) =>
    scope(() => {
      const args = [tensor([[1, 2, 3]]), tensor(columns.map(() => 1)), i32(...indptr), tensor(Uint16Array.from(columns)), null, null, null]
      expect(outcome(() => callOp('csr_linear', args))).toBe('ERR_MODEL_FORMAT')
      expect(outcome(() => callOp('csr_to_dense', [...args.slice(1, 4), 3]))).toBe('ERR_MODEL_FORMAT')
      expect(outcome(() => callOp('csr_multiply', [...args.slice(1, 4), tensor([[1], [2], [3]]), null, null, null]))).toBe(
        'ERR_MODEL_FORMAT',
      )
    }),
  )
})

it('the table is large', () => {
  expect(tried).toBeGreaterThan(6000)
})
