/** Training states as files: snapshots that rewinding goes back to, and where the checkpoints of a training stand. */
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CheckpointError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import { removeTrainCheckpoints } from '../compress/train/checkpoints.js'
import { packState, unpackState, type Snapshots, type TrainState } from '../compress/train/state.js'
import { readSafetensors, writeSafetensors } from '../formats/index.js'

const KEY = 'tersor.train'
const SNAPSHOT = /^epoch-(\d+)\.safetensors$/

export function saveTrainState(file: string, state: TrainState): void {
  const { json, tensors } = packState(state)
  writeSafetensors(file, tensors, { metadata: { [KEY]: JSON.stringify(json) } })
}

export function loadTrainState(file: string): TrainState {
  const { tensors, metadata } = readSafetensors(file)
  const text = metadata.get(KEY)
  if (text === undefined)
    throw new CheckpointError('ERR_CHECKPOINT', `resume '${file}': this is no training state`, { details: { reason: 'format' } })
  return unpackState(toPlain(parseJson(text)), tensors)
}

/** Folders beside a model file: the snapshots and the checkpoints of its training. */
export function trainPaths(modelFile: string): { readonly checkpoint: string; readonly snapshots: string } {
  return { checkpoint: `${modelFile}.checkpoint`, snapshots: `${modelFile}.snapshots` }
}

export function snapshotFile(modelFile: string, epoch: number): string {
  const dir = trainPaths(modelFile).snapshots
  mkdirSync(dir, { recursive: true })
  return join(dir, `epoch-${epoch}.safetensors`)
}

/** The snapshots beside a model file; each is read when it is asked for. undefined when there are none. */
export function snapshotsBeside(modelFile: string): Snapshots | undefined {
  const dir = trainPaths(modelFile).snapshots
  if (!existsSync(dir)) return undefined
  const epochs = readdirSync(dir)
    .map((name) => SNAPSHOT.exec(name)?.[1])
    .filter((e) => e !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
  return epochs.length
    ? { epochs, at: (epoch) => (epochs.includes(epoch) ? loadTrainState(snapshotFile(modelFile, epoch)) : undefined) }
    : undefined
}

/** Those of an earlier training to the same file: rewinding to them would mix two trainings. */
export function removeSnapshots(modelFile: string): void {
  const dir = trainPaths(modelFile).snapshots
  if (!existsSync(dir)) return
  for (const name of readdirSync(dir)) if (SNAPSHOT.test(name)) rmSync(join(dir, name), { force: true })
}

/** The result is safe: the checkpoints may go, and the folder when nothing else is in it. */
export function dropCheckpoints(dir: string): void {
  removeTrainCheckpoints(dir)
  try {
    rmdirSync(dir)
  } catch {
    // what is left there is not ours
  }
}
