/** Checkpoints with a changed header and checksums that fit: of a training and of a compression, resumed as a user would. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isTersorError } from '../../ts/base/errors.js'
import { compress, prune, quantize, recipe, train, type TrainOptions } from '../../ts/compress/index.js'
import { encodeSafetensors, parseSafetensors } from '../../ts/formats/safetensors.js'
import { blobs, mlp, quick } from '../compress/toys.js'
import { mutateJson } from './mutate.js'
import { numbered, type Target } from './target.js'

type Run = (dir: string, resume: boolean, onCheckpoint?: () => void, signal?: AbortSignal) => Promise<void>

const data = blobs(24)
const settings = { ...quick, epochs: 3, batchSize: 12, keepBest: true, checkpointSeconds: 0 } as const
const made = recipe(
  [
    [
      prune.magnitude({
        iterative: { fraction: 0.3, rounds: 2 },
        retrain: train.rewindLearningRate({ epochs: 1 }),
        training: { ...quick, epochs: 1, batchSize: 12 },
      }),
    ],
    [quantize.static({ samples: 8 })],
  ],
  { seed: 3 },
)

const training: Run = async (checkpointDir, resume, onCheckpoint, signal) => {
  const source = mlp({ hidden: 8 })
  const onEvent: TrainOptions['onEvent'] = (e) => void (e.type === 'checkpoint' && onCheckpoint?.())
  try {
    const { model, average, best } = await train(source, data, {
      ...settings,
      validation: data,
      checkpointDir,
      resume,
      ...(signal ? { signal } : {}),
      onEvent,
    })
    for (const made of [model, average, best?.model]) made?.dispose()
  } finally {
    source.dispose()
  }
}
const compression: Run = async (checkpointDir, resume, onCheckpoint, signal) => {
  const source = mlp({ hidden: 8 })
  try {
    const { model } = await compress(source, made, {
      data,
      checkpointDir,
      checkpointSeconds: 0,
      resume,
      ...(signal ? { signal } : {}),
      onEvent: (e) => void (e.type === 'checkpoint' && onCheckpoint?.()),
    })
    model.dispose()
  } finally {
    source.dispose()
  }
}

interface Seed {
  /** The header without times, and the tensors beside it. */
  readonly head: string
  readonly tensors: ReturnType<typeof parseSafetensors>['tensors']
  readonly file: string
  /** Files beside it: models of a compression. */
  readonly others: readonly (readonly [string, Uint8Array])[]
}

/** The newest checkpoint of a run that is stopped at its `at`-th. */
async function seedOf(run: Run, key: string, prefix: string, at: number): Promise<Seed> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-fuzz-seed-'))
  const stop = new AbortController()
  let seen = 0
  try {
    await run(dir, false, () => void (++seen === at && stop.abort()), stop.signal).catch((e: unknown) => {
      if (!isTersorError(e) || e.code !== 'ERR_ABORTED') throw e
    })
    const names = fs.readdirSync(dir).filter((name) => name.endsWith('.safetensors'))
    const bytesOf = (name: string): Uint8Array => new Uint8Array(fs.readFileSync(path.join(dir, name)))
    const file = names.filter((name) => name.startsWith(prefix)).sort().at(-1) // prettier-ignore
    if (file === undefined) throw new Error(`no checkpoint of ${prefix}`)
    const { tensors, metadata } = parseSafetensors(bytesOf(file))
    const head = metadata.get(key)!.replace(/"seconds":[0-9.e-]+/g, '"seconds":1')
    return { head, tensors, file, others: names.filter((n) => !n.startsWith(prefix)).map((n) => [n, bytesOf(n)]) }
  } finally {
    fs.rmSync(dir, { recursive: true })
  }
}

/** Number of the seed, then the header. */
async function target(name: string, key: string, prefix: string, run: Run, stops: readonly number[]): Promise<Target> {
  const seeds: Seed[] = []
  for (const at of stops) seeds.push(await seedOf(run, key, prefix, at))
  return {
    name,
    workMs: 3000, // what is left of the run
    make: (r) => {
      const k = r.below(seeds.length)
      return numbered(k, mutateJson(r, seeds[k]!.head))
    },
    read: async (bytes, folder) => {
      const { tensors, file, others } = seeds[(bytes[0] ?? 0) % seeds.length]!
      const dir = fs.mkdtempSync(path.join(folder, 'run-'))
      try {
        for (const [other, data1] of others) fs.writeFileSync(path.join(dir, other), data1)
        const changed = new TextDecoder().decode(bytes.subarray(1))
        fs.writeFileSync(path.join(dir, file), Buffer.concat(encodeSafetensors(tensors, { metadata: { [key]: changed } })))
        await run(dir, true)
      } finally {
        fs.rmSync(dir, { recursive: true, force: true })
      }
    },
  }
}

export const checkpointTargets = async (): Promise<Target[]> => [
  await target('training-checkpoint', 'tersor.training', 'tersor-train-', training, [2, 4]),
  await target('compression-checkpoint', 'tersor.checkpoint', 'tersor-run-', compression, [1, 2, 3]),
]
