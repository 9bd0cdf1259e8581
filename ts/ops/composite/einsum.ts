/**
 * Einstein summation: letters name dimensions, `a,b->c` says how operands meet. Two operands at a time become one batched matrix product: letters that both have
 * and that stay are the batch, those that both have and that go are summed by the product, letters of one operand alone that go are summed before.
 */
import { permute, reshape } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { matmul } from '../matmul.js'
import { sum } from '../reduce.js'

interface Term {
  readonly t: Tensor
  readonly letters: string
}

function parse(equation: string, operands: readonly Tensor[]): { inputs: string[]; output: string; sizes: Map<string, number> } {
  const bad = (rule: string): OptionError => new OptionError('ERR_OPTION', `einsum: ${rule}, got ${JSON.stringify(equation)}`)
  if (typeof equation !== 'string') throw bad('the equation must be a string')
  const sides = equation.replace(/\s/g, '').split('->')
  if (sides.length > 2) throw bad('an equation has one arrow')
  const inputs = sides[0]!.split(',')
  if (inputs.length !== operands.length || operands.length === 0)
    throw bad(`an equation names each of the ${operands.length} operands once`)
  if (![...inputs, sides[1] ?? ''].every((s) => /^[A-Za-z]*$/.test(s))) throw bad('dimensions are letters')
  const sizes = new Map<string, number>()
  inputs.forEach((letters, k) => {
    const t = operands[k]!
    if (letters.length !== t.rank)
      throw new ShapeError('ERR_SHAPE', `einsum: operand ${k} is ${t}, "${letters}" names ${letters.length} dimensions`)
    if (new Set(letters).size !== letters.length) throw bad('a letter may stand once in an operand (diagonals are not taken)')
    for (const [i, letter] of [...letters].entries()) {
      const known = sizes.get(letter) ?? t.shape[i]!
      if (known !== t.shape[i]!)
        throw new ShapeError('ERR_SHAPE', `einsum: dimension ${letter} is ${known} and ${t.shape[i]} in ${equation}`)
      sizes.set(letter, known)
    }
  })
  const all = inputs.join('')
  // Without an arrow the result has the letters that stand once, in the order of the alphabet.
  const once = [...new Set(all)].filter((l) => all.split(l).length === 2).sort()
  const output = sides[1] ?? once.join('')
  if (new Set(output).size !== output.length) throw bad('a letter may stand once in the result')
  for (const letter of output) if (!sizes.has(letter)) throw bad(`the result names ${letter}, which no operand has`)
  return { inputs, output, sizes }
}

/** Sums what nobody needs any more. */
function shrink({ t, letters }: Term, needed: string): Term {
  const gone = [...letters].flatMap((l, i) => (needed.includes(l) ? [] : [i]))
  if (gone.length === 0) return { t, letters }
  return { t: sum(t, gone), letters: [...letters].filter((l) => needed.includes(l)).join('') }
}

const order = ({ t, letters }: Term, wanted: string): Tensor =>
  permute(
    t,
    [...wanted].map((l) => letters.indexOf(l)),
  )

function product(a: Term, b: Term, needed: string, sizes: ReadonlyMap<string, number>): Term {
  const size = (letters: string): number => [...letters].reduce((n, l) => n * sizes.get(l)!, 1)
  const keep = (letters: string, test: (l: string) => boolean): string => [...letters].filter(test).join('')
  const [x, y] = [shrink(a, b.letters + needed), shrink(b, a.letters + needed)]
  const batch = keep(x.letters, (l) => y.letters.includes(l) && needed.includes(l))
  const inner = keep(x.letters, (l) => y.letters.includes(l) && !needed.includes(l))
  const left = keep(x.letters, (l) => !y.letters.includes(l))
  const right = keep(y.letters, (l) => !x.letters.includes(l))
  const m = matmul(
    reshape(order(x, batch + left + inner), [size(batch), size(left), size(inner)]),
    reshape(order(y, batch + inner + right), [size(batch), size(inner), size(right)]),
  )
  const letters = batch + left + right
  return {
    t: reshape(
      m,
      [...letters].map((l) => sizes.get(l)!),
    ),
    letters,
  }
}

/**
 * Sum of products over the letters that the result leaves out. Operands are taken from left to right. Unknown or doubled letters are ERR_OPTION, sizes that disagree
 * ERR_SHAPE. No ellipsis, no diagonals.
 *
 * @example
 * einsum('bij,bjk->bik', ones([2, 3, 4]), ones([2, 4, 5])).shape   // [2, 3, 5]
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { inputs, output, sizes } = parse(equation, operands)
  return scope(() => {
    let result: Term = { t: operands[0]!, letters: inputs[0]! }
    for (let k = 1; k < operands.length; k++) {
      const needed = inputs.slice(k + 1).join('') + output
      result = product(result, { t: operands[k]!, letters: inputs[k]! }, needed, sizes)
    }
    const last = shrink(result, output)
    return order(last, output)
  })
}
