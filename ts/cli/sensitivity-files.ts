/** What `tersor sensitivity` measures, keeps and goes on with. */
import { existsSync, rmSync } from 'node:fs'
import { sensitivity, type LossData } from '../analyze/index.js'
import type { Sensitivities, SensitivityMethod, SensitivityOptions, SensitivityState } from '../analyze/sensitivity/index.js'
import { CheckpointError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import type { JsonObject } from '../base/json-types.js'
import { gridQuantizer, runIdentity } from '../compress/index.js'
import type { Dataset } from '../data/index.js'
import { readRegularFile, writeFileAtomic } from '../formats/index.js'
import type { Model } from '../nn/index.js'
import type { SensitivityRow } from '../report/index.js'
import type { Progress, Ui } from './ui.js'

export interface SensitivityCliOptions {
  readonly data: string
  readonly method: SensitivityMethod
  readonly bits: readonly number[]
  readonly groups?: readonly string[]
  readonly budget?: string
  readonly monotone?: boolean
  readonly layout: 'tensor' | 'channel' | 'group'
  readonly groupSize: number
  readonly range: 'max' | 'mse'
  readonly examples: number
  readonly shards: number
  readonly iterations?: number
  readonly tolerance?: number
  readonly seed: number
  readonly compare?: boolean
  readonly save?: string
  readonly from?: string
  readonly resume?: boolean
  readonly recipe?: string
  readonly report?: string
  readonly plot?: string
  readonly out?: string
  readonly json?: boolean
}

export const readJson = (file: string, where: string): unknown =>
  toPlain(parseJson(readRegularFile(file, { maxBytes: 2 ** 28 }), { where, code: 'ERR_MODEL_FORMAT', format: 'sensitivities' }))

export const writeJson = (file: string, value: unknown): void =>
  void writeFileAtomic(file, new TextEncoder().encode(`${JSON.stringify(value, null, 1)}\n`))

/** What is known goes into FILE.partial now and then, and when the work is interrupted. */
class Partial {
  readonly #file: string
  readonly #key: string
  #last = Date.now()
  #state: SensitivityState | undefined

  constructor(file: string, key: JsonObject) {
    this.#file = `${file}.partial`
    this.#key = JSON.stringify(key)
  }

  load(ui: Ui): SensitivityState | undefined {
    if (!existsSync(this.#file)) {
      ui.say('nothing to resume: starting from the beginning')
      return undefined
    }
    const found = readJson(this.#file, this.#file) as { key?: string; state?: SensitivityState }
    if (found.key !== this.#key || !found.state)
      throw new CheckpointError('ERR_CHECKPOINT', `'${this.#file}' belongs to another model, data set or choice of options`, {
        details: { reason: 'key', path: this.#file },
      })
    return found.state
  }

  readonly see = (state: SensitivityState): void => {
    this.#state = state
    if (Date.now() - this.#last > 5000) this.write()
  }

  write(): void {
    if (!this.#state) return
    writeJson(this.#file, { key: this.#key, state: this.#state })
    this.#last = Date.now()
  }

  drop(): void {
    rmSync(this.#file, { force: true })
  }
}

export async function measure(
  model: Model,
  data: Dataset | LossData,
  o: SensitivityCliOptions,
  method: SensitivityMethod,
  ui: Ui,
): Promise<Sensitivities> {
  const settings = {
    method,
    bits: o.bits,
    groups: o.groups ?? [],
    shards: Math.min(o.shards, 'batches' in data ? data.batches.length : data.size),
    seed: o.seed,
    ...(o.iterations === undefined ? {} : { iterations: o.iterations }),
    ...(o.tolerance === undefined ? {} : { tolerance: o.tolerance }),
  }
  const { layout, groupSize, range } = o
  const partial =
    o.save === undefined || method !== o.method
      ? undefined
      : new Partial(o.save, { ...settings, layout, groupSize, range, ...runIdentity(model, data) })
  const state = o.resume ? partial?.load(ui) : undefined
  let bar: Progress | undefined
  let stage = ''
  const onProgress: NonNullable<SensitivityOptions['onProgress']> = (p) => {
    if (p.stage !== stage) {
      bar?.end()
      bar = ui.progress(p.stage, p.total)
      stage = p.stage
    }
    bar!.update(p.done)
  }
  try {
    const found = await sensitivity.sensitivities(model, data, {
      ...settings,
      quantize: gridQuantizer({ layout, groupSize, range }, ui.signal),
      signal: ui.signal,
      onProgress,
      ...(state ? { state } : {}),
      ...(partial ? { onState: partial.see } : {}),
    })
    if (o.save !== undefined && method === o.method) writeJson(o.save, found)
    partial?.drop()
    return found
  } catch (error) {
    partial?.write()
    throw error
  } finally {
    bar?.end()
  }
}

/** For tables and plots. Without bits the cost is that of the fewest. */
export function sensitivityRowsOf(s: Pick<Sensitivities, 'groups'>, bits?: Readonly<Record<string, number>>): SensitivityRow[] {
  return s.groups.map((g) => {
    const chosen = bits && g.choices.find((c) => c.bits === bits[g.name])
    return {
      name: g.name,
      parameters: g.parameters,
      sensitivity: g.sensitivity,
      ...(chosen ? { bits: chosen.bits, bytes: chosen.bytes, cost: chosen.cost } : { cost: g.choices[0]!.cost }),
    }
  })
}
