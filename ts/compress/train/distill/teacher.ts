/**
 * A teacher beside a student: whether it fits, what it is given, what it answers. It runs as in use (no dropout, running statistics), outside of any tape,
 * and is never changed.
 */
import { DataError, OptionError } from '../../../base/errors.js'
import { sameShape, sizeOf } from '../../../base/shape.js'
import { TOKENIZER } from '../../../models/inputs.js'
import { PAIR_VOCABULARIES } from '../../../models/pairs.js'
import { VOCABULARY } from '../../../models/vocabulary.js'
import type { Model, ModuleInput } from '../../../nn/index.js'
import { reshape, scaleShift } from '../../../ops/index.js'
import { scope, type Tensor } from '../../../tensor/index.js'
import type { BySample, Look } from '../task.js'

/** Before the paths of a teacher's carried state in that of the training. */
const prefix = (number: number): string => `@teacher${number}/`

function sameExtra(a: Model, b: Model, name: string): boolean {
  const [x, y] = [a.extras[name], b.extras[name]]
  if (!x || !y) return x === y
  return x === y || (x.data.byteLength === y.data.byteLength && Buffer.compare(x.data, y.data) === 0)
}

function refuse(teacher: Model, why: string): never {
  throw new OptionError('ERR_OPTION', `distill: /teacher: ${teacher.info.name} ${why}`, { details: { pointer: '/teacher' } })
}

/** ERR_OPTION for a teacher that cannot teach this student, as far as it can be known without running them. */
export function checkTeacher(student: Model, teacher: Model): void {
  const [own, theirs] = [student.info, teacher.info]
  if (own.task !== theirs.task) refuse(teacher, `is made for ${theirs.task}, ${own.name} for ${own.task}`)
  if (own.classes && theirs.classes) {
    const [a, b] = [own.classes, theirs.classes]
    if (a.length !== b.length) refuse(teacher, `has ${b.length} classes, ${own.name} has ${a.length}`)
    const at = a.findIndex((name, i) => name !== b[i])
    if (at >= 0) refuse(teacher, `has the class ${JSON.stringify(b[at])} where ${own.name} has ${JSON.stringify(a[at])}`)
  }
  if (
    (own.task === 'language' || own.task === 'tokens') &&
    ![VOCABULARY, TOKENIZER, ...Object.values(PAIR_VOCABULARIES)].every((name) => sameExtra(student, teacher, name))
  )
    refuse(teacher, `has another vocabulary than ${own.name}`)
}

/** True where the teacher takes the student's input as it is. */
function sameInput(student: Model, teacher: Model): boolean {
  const [{ info: a, extras }, { info: b }] = [student, teacher]
  return (
    sameShape(a.inputShape ?? [], b.inputShape ?? []) &&
    JSON.stringify(a.normalize) === JSON.stringify(b.normalize) &&
    (extras === teacher.extras || (sameExtra(student, teacher, TOKENIZER) && sameExtra(student, teacher, VOCABULARY)))
  )
}

/** What the student was given, as the teacher takes it. `sample`: its own reading of the same samples, where that is possible. */
export function teacherInput(student: Model, teacher: Model, x: ModuleInput, sample: (() => ModuleInput) | undefined): ModuleInput {
  if (sameInput(student, teacher)) return x
  if (sample) return sample()
  const [own, theirs] = [student.info, teacher.info]
  if (!('handle' in x) || own.task === 'language' || own.task === 'tokens') return refuse(teacher, `does not read the input of ${own.name}`)
  let y = x as Tensor
  const [from, to] = [own.normalize ?? { mean: 0, std: 1 }, theirs.normalize ?? { mean: 0, std: 1 }]
  if (JSON.stringify(from) !== JSON.stringify(to)) {
    const { mean: m0, std: s0 } = from
    const { mean: m1, std: s1 } = to
    if (typeof m0 !== 'number' || typeof m1 !== 'number' || typeof s0 !== 'number' || typeof s1 !== 'number')
      return refuse(teacher, `scales its input column by column, otherwise than ${own.name}`)
    y = scaleShift(y, s0 / s1, (m0 - m1) / s1)
  }
  const shape = theirs.inputShape ?? y.shape.slice(1)
  if (sizeOf(shape) * y.shape[0]! !== y.size)
    return refuse(teacher, `takes [${shape.join(', ')}], ${own.name} [${y.shape.slice(1).join(', ')}]`)
  return reshape(y, [y.shape[0]!, ...shape])
}

/** Runs the teacher. Recurrent state goes on in the training's own map, under names of its own. */
export function runTeacher(
  teacher: Model,
  number: number,
  x: ModuleInput,
  carried: Map<string, Tensor> | undefined,
  look: Look | undefined,
): Tensor {
  const own = prefix(number)
  const map = carried && new Map([...carried].filter(([path]) => path.startsWith(own)).map(([path, t]) => [path.slice(own.length), t]))
  const y = teacher.forward(x, { ...(map ? { carried: map } : {}), ...(look ? { output: look } : {}) })
  if (map) for (const [path, t] of map) carried.set(own + path, t)
  return y
}

/** Outputs of a teacher for every sample of a task, row-major [samples, width]. */
export interface KeptOutputs {
  readonly values: Float32Array
  readonly width: number
  /** Of one sample's output, without the batch. */
  readonly shape: readonly number[]
}

/** Asks the teacher once for each sample, in batches of a fixed order. Samples whose outputs differ in size: undefined. */
export async function askAll(
  teacher: Model,
  samples: number,
  by: BySample<unknown>,
  budget: number,
  breathe: () => Promise<void>,
): Promise<KeptOutputs | undefined> {
  let kept: KeptOutputs | undefined
  for (const indices of by.sweep(teacher)) {
    let fits = true
    scope(() => {
      const y = teacher.forward(by.input(teacher, indices))
      const shape = y.shape.slice(1)
      const width = sizeOf(shape)
      if (!kept) {
        if (width * samples * 4 > budget) return void (fits = false)
        kept = { values: new Float32Array(width * samples), width, shape }
      }
      if (!sameShape(shape, kept.shape)) return void (fits = false)
      const rows = y.read() as Float32Array
      indices.forEach((index, i) => kept!.values.set(rows.subarray(i * width, (i + 1) * width), index * width))
    })
    if (!fits) return undefined
    await breathe()
  }
  if (!kept) throw new DataError('ERR_DATA', 'distill: there are no examples')
  return kept
}
