/**
 * Recurrent state that a training carries from step to step, one set per part of a batch. A forward pass works on a fork; `commit` takes over what it
 * left. So a second pass over the same batch (SAM, the search for a bad value) begins where the first began.
 */
import type { RawTensor } from '../../base/dtype.js'
import { CarriedState } from '../../models/language.js'
import { fromRaw, keep, toRaw, type Tensor } from '../../tensor/index.js'

export type CarriedMap = Map<string, Tensor>

export class Carried {
  readonly #parts: CarriedState[] = []

  fork(part: number): CarriedMap {
    return new Map(this.#parts[part]?.map)
  }

  /** Takes over the state behind a step, part by part; call inside the scope of the step, outside of any gradient. */
  commit(parts: readonly CarriedMap[]): void {
    parts.forEach((map, k) => {
      const state = (this.#parts[k] ??= new CarriedState())
      for (const [path, t] of map) state.map.set(path, t)
      state.detach()
    })
  }

  /** Back to zeros. */
  reset(): void {
    for (const state of this.#parts) state.reset()
  }

  /** By "<part>/<path>". */
  save(): Map<string, RawTensor> {
    return new Map(this.#parts.flatMap((state, k) => [...state.map].map(([path, t]): [string, RawTensor] => [`${k}/${path}`, toRaw(t)])))
  }

  restore(saved: ReadonlyMap<string, RawTensor>): void {
    for (const [name, raw] of saved) {
      const [k, path] = [Number(name.slice(0, name.indexOf('/'))), name.slice(name.indexOf('/') + 1)]
      const state = (this.#parts[k] ??= new CarriedState())
      state.hold(path, keep(fromRaw(raw)))
    }
  }

  dispose(): void {
    for (const state of this.#parts) state.dispose()
  }
}
