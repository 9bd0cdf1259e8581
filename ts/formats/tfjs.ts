/**
 * TensorFlow.js models: model.json and binary shards that split the weights at any byte. Weights come back by name, quantised ones
 * expanded; the topology comes back as parsed JSON for whoever rebuilds the network. Shards are read from beneath the folder of
 * model.json only (beneath.ts).
 */
import path from 'node:path'
import type { RawTensor } from '../base/dtype.js'
import { parseJson, type JsonValue } from '../base/json.js'
import { openBeneath, type BeneathOptions } from './beneath.js'
import { expandAffine, expandHalves } from './dequantize.js'
import { readRegularFile, type ByteSource } from './files.js'
import { allocateTensor, checkBooleans, formatContext, formatError, limitError, type FormatContext } from './limits.js'
import { asObject, member, readManifest, type WeightEntry, type WeightGroup } from './tfjs-manifest.js'

export interface TfjsModel {
  /** `graph-model`, `layers-model` or undefined where the file does not say. */
  readonly kind: string | undefined
  readonly topology: JsonValue
  /** The inputs and outputs of a graph model, where the file has them. */
  readonly signature: JsonValue | undefined
  readonly tensors: Map<string, RawTensor>
}

/** The shards of a group as one run of bytes. */
class ShardRun {
  readonly size: number
  #shard = 0
  #offset = 0
  constructor(readonly shards: readonly ByteSource[]) {
    this.size = shards.reduce((n, s) => n + s.size, 0)
  }

  /** Fills `into` with the next bytes, across the borders of shards. */
  take(into: Uint8Array): void {
    for (let done = 0; done < into.byteLength;) {
      const shard = this.shards[this.#shard]!
      const n = Math.min(into.byteLength - done, shard.size - this.#offset)
      shard.readInto(this.#offset, into.subarray(done, done + n))
      done += n
      this.#offset += n
      if (this.#offset === shard.size) {
        this.#shard++
        this.#offset = 0
      }
    }
  }
}

function expand(ctx: FormatContext, { name, dtype, shape, storage }: WeightEntry, stored: Uint8Array): RawTensor {
  let data = stored
  if (storage.kind === 'half') data = expandHalves(stored)
  else if (storage.kind === 'affine')
    data = expandAffine(stored, storage.codeBytes, storage.scale, storage.min, dtype === 'i32' ? 'i32' : 'f32')
  const tensor = { dtype, shape, data }
  checkBooleans(ctx, tensor, { tensor: name })
  return tensor
}

function readGroup(ctx: FormatContext, dir: string, group: WeightGroup, options: BeneathOptions, into: Map<string, RawTensor>): void {
  const shards: ByteSource[] = []
  try {
    for (const name of group.paths) shards.push(openBeneath(ctx.where, dir, name, options))
    const run = new ShardRun(shards)
    const needed = group.weights.reduce((n, w) => n + w.stored, 0)
    if (needed !== run.size)
      throw formatError(
        ctx,
        needed > run.size ? 'truncated' : 'trailing',
        `the weights take ${needed} bytes, their shards have ${run.size}`,
      )
    for (const weight of group.weights) {
      const stored = allocateTensor(ctx, weight.stored)
      run.take(stored)
      into.set(weight.name, expand(ctx, weight, stored))
    }
  } finally {
    for (const shard of shards) shard.close()
  }
}

/** Reads the model whose model.json is `file`. */
export function readTfjs(file: string, options: BeneathOptions = {}): TfjsModel {
  const ctx = formatContext('tfjs', file, options)
  const { jsonBytes, jsonDepth } = ctx.limits
  const json = readRegularFile(file, { ...options, maxBytes: jsonBytes })
  const model = asObject(ctx, parseJson(json, { where: ctx.where, format: 'tfjs', maxDepth: jsonDepth }), 'model.json')
  const groups = readManifest(ctx, member(ctx, model, 'weightsManifest', 'model.json'))
  const shardCount = groups.reduce((n, g) => n + g.paths.length, 0)
  if (shardCount > ctx.limits.shards) throw limitError(ctx.where, 'shards', shardCount, ctx.limits.shards)
  const tensors = new Map<string, RawTensor>()
  for (const group of groups) readGroup(ctx, path.dirname(file), group, options, tensors)
  const kind = model.get('format')
  return {
    kind: typeof kind === 'string' ? kind : undefined,
    topology: model.get('modelTopology') ?? null,
    signature: model.get('signature'),
    tensors,
  }
}
