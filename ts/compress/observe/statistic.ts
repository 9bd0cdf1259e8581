/**
 * A statistic of a layer's inputs over a stream of batches. It keeps constant memory, whatever the number of batches, and its value can
 * be saved: a run that is resumed in the middle of a stage must not look at the data again with a model that has changed since.
 */
import type { RawTensor } from '../../base/dtype.js'
import type { Json } from '../../base/json-types.js'
import type { Module } from '../../nn/index.js'
import type { Tensor } from '../../tensor/index.js'

export interface Observer<T> {
  /**
   * One input of the layer, or of `module`, another layer of its kind and groups that multiplies with the same weight: strides, zeros and dilations are that
   * layer's own. ERR_NUMERIC when it is not finite. The tensor belongs to the caller.
   */
  see(x: Tensor, module?: Module): void
  value(): T
}

export interface Statistic<T> {
  /** Two requests with the same key share one observer. */
  readonly key: string
  /** `path` is for messages. */
  observe(path: string): Observer<T>
  save(value: T): { readonly json: Json; readonly tensors?: Readonly<Record<string, RawTensor>> }
  restore(json: Json, tensors: Readonly<Record<string, RawTensor>>): T
}
