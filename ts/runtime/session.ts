/**
 * A session runs a model again and again without JavaScript between its operations. The first run with inputs of a class (names, dtypes, shapes) is
 * eager and recorded; its native calls become a plan with planned memory, and runs replay the plan in one native call, off the main thread or on it.
 * Where values of small integer inputs decide what is computed (the sample rate of a voice model), a class has a plan for each of a few such values. A
 * class whose calls depend on other values cannot be recorded: it runs eagerly, and `info()` says so and why.
 */
import { type ErrorCode } from '../base/codes.gen.js'
import { DisposedError, OptionError, tersorError } from '../base/errors.js'
import { abortError } from '../base/pace.js'
import { optimizeModel, type PassResult } from '../graph/index.js'
import { loadModel } from '../models/index.js'
import { addon, nativeError } from '../native/call.js'
import { defaultDevice, device, onDevice, type Device, type DeviceSpec } from '../native/device.js'
import { Model, toDevice, type ModuleInput } from '../nn/index.js'
import { scope, Tensor } from '../tensor/index.js'
import { Profile } from './profile.js'
import {
  describe,
  infosOf,
  MOST_VALUES,
  OTHER_VALUES,
  otherValues,
  tensorsOf,
  unlessAborted,
  timed,
  valuesOf,
  type Class,
  type Ran,
  type SessionClass,
} from './session-class.js'
import { letOthersRun } from './turns.js'
import { feedOf, nativeInputs, ownTensor, valuesText, type Feed, type SessionInputs, type SessionValue } from './values.js'

/** A function of tensors: what a session can run besides a model. Called with one tensor, or a record by the names of the inputs. */
export type SessionFunction = (inputs: never) => Tensor | Readonly<Record<string, Tensor>>

export interface SessionOptions {
  /** Name of the output of a model that gives one tensor; default 'output'. */
  readonly output?: string
  /** Most classes of inputs that are kept recorded; the one used longest ago goes first. Default 16. */
  readonly classes?: number
  /** Whether the plan may combine calls (products with what follows them, packed weights). Without, results equal eager ones bit for bit. Default true. */
  readonly fuse?: boolean
  /**
   * How plans compute convolutions in f32. 'auto': those of 3 x 3 by Winograd's transforms where that takes less time, with rounding errors about twice those of
   * direct sums; which ones depends on sizes only. 'direct': all as direct sums. Without `fuse` nothing is transformed. Default 'auto'.
   */
  readonly convolution?: 'auto' | 'direct'
  /**
   * Whether imported graphs in the model go through the graph passes first (`optimizeGraph`): fewer nodes, weights folded into one another. The model itself stays as it
   * is. Default: what `fuse` says.
   */
  readonly optimize?: boolean
  /**
   * Where it runs: the model is copied there if it lies elsewhere, inputs go there with each run. Default: where the model lies (a function: where tensors are made).
   * In plans of devices products take in the activation and the addition behind them; weights are not packed, convolutions stay as they are.
   */
  readonly device?: DeviceSpec
}

export interface RunOptions {
  readonly signal?: AbortSignal
}

export interface SessionInfo {
  /** 'cpu', 'cuda:0' */
  readonly device: string
  readonly classes: readonly SessionClass[]
  /** From opening the file to a model in memory; 0 where a model was given. */
  readonly loadMs: number
  /** What graph passes did, and how long they took; empty where the model has no imported graph. */
  readonly passes: readonly PassResult[]
  readonly optimizeMs: number
}

const AS_HANDLES = 1
const WITH_TIMES = 2
const UNFUSED = 1
const DIRECT = 2
const none: readonly number[] = []

/**
 * Runs of one model. Make it with {@link session}. Runs may overlap; each has memory of its own. The model must live, unchanged, as long as the session:
 * writing into a tensor that a plan reads, or that something it reads was made from (packed weights, results of calls on weights only), is ERR_BUSY.
 */
export class Session {
  readonly #forward: (inputs: ModuleInput, output: (path: string) => void) => Tensor | Readonly<Record<string, Tensor>>
  readonly #options: Required<Omit<SessionOptions, 'optimize' | 'device'>>
  readonly #device: Device
  readonly #loadMs: number
  readonly #passes: readonly PassResult[]
  readonly #optimizeMs: number
  /** Frees what graph passes made. */
  readonly #release: () => void
  /** Loaded for this session: nobody else has it. */
  readonly #own: Model | undefined
  readonly #classes = new Map<string, Class>()
  /** By the key without values: inputs whose values decide, and the values that were recorded. */
  readonly #deciding = new Map<string, { readonly byValue: readonly number[]; readonly seen: Set<string> }>()
  #disposed = false

  /** @internal */
  constructor(model: Model | SessionFunction, options: SessionOptions, loadMs: number, own?: Model) {
    this.#own = own
    const { output = 'output', classes = 16, fuse = true, convolution = 'auto', optimize = fuse } = options
    if (!Number.isInteger(classes) || classes < 1)
      throw new OptionError('ERR_OPTION', `session: classes must be an integer >= 1, got ${classes}`)
    if (convolution !== 'auto' && convolution !== 'direct')
      throw new OptionError('ERR_OPTION', `session: convolution must be 'auto' or 'direct', got ${String(convolution)}`)
    this.#options = { output, classes, fuse, convolution }
    this.#loadMs = loadMs
    this.#device = options.device !== undefined ? device(options.device) : model instanceof Model ? model.device : defaultDevice()
    const began = performance.now()
    const moved = model instanceof Model && model.device !== this.#device ? toDevice(model, this.#device) : undefined
    const here = moved ?? model
    const optimized = here instanceof Model && optimize ? onDevice(this.#device, () => optimizeModel(here)) : undefined
    this.#optimizeMs = optimized?.passes.length ? performance.now() - began : 0
    this.#passes = optimized?.passes ?? []
    this.#release = (): void => {
      optimized?.dispose()
      moved?.dispose()
    }
    const runs = optimized?.model ?? here
    this.#forward =
      typeof runs === 'function'
        ? (inputs) => runs(inputs as never)
        : (inputs, mark) => runs.forwardAll(inputs, { output: (path) => mark(path) }, output)
  }

  /**
   * Outputs by name (those of an imported model are called as in its file; one that has no name is 'output'), computed off the main thread; a run that
   * usually takes less than 0.1 ms is computed here, as handing it over would take this thread about as long; when such calls have taken 2 ms, copies of inputs and
   * outputs included, the event loop has a turn. Inputs are copied before the call returns. The first run of a class of inputs is recorded on this thread; see {@link Session.prepare}. Rejects
   * with ERR_ABORTED when the signal has fired, or fires before the result is handed over: also when it fires right behind a call that computed its result here.
   */
  async run(inputs: SessionInputs, options: RunOptions = {}): Promise<Record<string, SessionValue>> {
    return valuesOf(await this.#start(inputs, 0, options.signal))
  }

  /** The same with tensors, which the caller disposes. */
  async runTensors(inputs: SessionInputs, options: RunOptions = {}): Promise<Record<string, Tensor>> {
    return tensorsOf(await this.#start(inputs, AS_HANDLES, options.signal))
  }

  /** On this thread. */
  runSync(inputs: SessionInputs): Record<string, SessionValue> {
    const began = performance.now()
    const feed = feedOf(inputs)
    const found = this.#classOf(feed)
    found.runs++
    return valuesOf(this.#now(found, feed, 0, began))
  }

  /** On this thread, with tensors, which the caller disposes. */
  runTensorsSync(inputs: SessionInputs): Record<string, Tensor> {
    const began = performance.now()
    const feed = feedOf(inputs)
    const found = this.#classOf(feed)
    found.runs++
    return tensorsOf(this.#now(found, feed, AS_HANDLES, began))
  }

  /** Records the class of these inputs now instead of in its first run. Their values matter only where `SessionClass.byValue` names them. */
  prepare(inputs: SessionInputs): SessionClass {
    return describe(this.#classOf(feedOf(inputs)))
  }

  /** How each class of inputs runs, the one used longest ago first. */
  info(): SessionInfo {
    this.#check()
    return {
      device: this.#device.name,
      classes: [...this.#classes.values()].map(describe),
      loadMs: this.#loadMs,
      passes: this.#passes,
      optimizeMs: this.#optimizeMs,
    }
  }

  /** Times of the steps over `runs` runs on this thread (default 20, after one that does not count). ERR_UNSUPPORTED for a class that is not planned. */
  profile(inputs: SessionInputs, runs = 20): Profile {
    if (!Number.isInteger(runs) || runs < 1) throw new OptionError('ERR_OPTION', `profile: runs must be an integer >= 1, got ${runs}`)
    const feed = feedOf(inputs)
    const found = this.#classOf(feed)
    if (found.plan === 0)
      throw tersorError('ERR_UNSUPPORTED', `profile: inputs ${found.key} run eagerly (${found.reason}), so there are no steps to time`)
    this.#replay(found, feed, 0)
    const times: Float64Array[] = []
    for (let i = 0; i < runs; i++) times.push(this.#replay(found, feed, WITH_TIMES).out[found.outputs.length] as Float64Array)
    return new Profile(addon().planInfo(found.plan), found.labels, times)
  }

  /** Frees the plans. Runs in flight end well; later ones are ERR_DISPOSED. A model that was given stays, one that was loaded from a file goes. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    for (const c of this.#classes.values()) if (c.plan) addon().planRelease(c.plan)
    this.#classes.clear()
    this.#deciding.clear()
    this.#release()
    this.#own?.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('ERR_DISPOSED', 'session: it was disposed')
  }

  async #start(inputs: SessionInputs, flags: number, signal?: AbortSignal): Promise<Ran> {
    if (signal?.aborted) throw abortError('session', signal)
    const began = performance.now()
    const feed = feedOf(inputs)
    const found = this.#classOf(feed)
    found.runs++
    if (found.plan === 0) return unlessAborted(this.#now(found, feed, flags, began), (flags & AS_HANDLES) !== 0, signal)
    const native = addon()
    const promise = native.planRunAsync(found.plan, nativeInputs(feed, found.byValue), flags)
    if (!promise) throw nativeError(native)
    if (!('then' in promise)) {
      const ms = performance.now() - began
      timed(found, ms)
      const turn = letOthersRun(ms)
      if (turn) await turn
      return unlessAborted({ outputs: found.outputs, out: promise }, (flags & AS_HANDLES) !== 0, signal)
    }
    const ticket = native.out[0]!
    const cancel = (): void => native.cancel(ticket)
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      const out = await promise
      timed(found, performance.now() - began)
      return { outputs: found.outputs, out }
    } catch (e) {
      const error = e as Error & { code?: ErrorCode }
      if (error.code === 'ERR_ABORTED' && signal?.aborted) throw abortError('session', signal)
      throw error.code ? tersorError(error.code, error.message) : error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  #now(found: Class, feed: Feed, flags: number, began: number): Ran {
    const ran = found.plan === 0 ? this.#eager(feed, flags) : this.#replay(found, feed, flags)
    timed(found, performance.now() - began)
    return ran
  }

  #replay(found: Class, feed: Feed, flags: number): Ran {
    const native = addon()
    const out = native.planRun(found.plan, nativeInputs(feed, found.byValue), flags)
    if (!out) throw nativeError(native)
    return { outputs: found.outputs, out }
  }

  /** What a plan would give, by calls one after the other. */
  #eager(feed: Feed, flags: number): Ran {
    const named = onDevice(this.#device, () => scope(() => this.#named(this.#forward(inputsOf(feed, this.#device), () => undefined))))
    const tensors = Object.values(named)
    const outputs = infosOf(Object.entries(named))
    if (flags & AS_HANDLES) return { outputs, out: tensors }
    const out = tensors.map((t) => t.read())
    for (const t of tensors) t.dispose()
    return { outputs, out }
  }

  #named(result: unknown): Readonly<Record<string, Tensor>> {
    if (result instanceof Tensor) return { [this.#options.output]: result }
    if (typeof result !== 'object' || result === null)
      throw new OptionError(
        'ERR_OPTION',
        `session: the model must give a tensor or a record of tensors, got ${result === null ? 'null' : typeof result}`,
      )
    for (const [name, t] of Object.entries(result))
      if (!(t instanceof Tensor))
        throw new OptionError('ERR_OPTION', `session: output '${name}' must be a tensor, got ${t === null ? 'null' : typeof t}`)
    return result as Readonly<Record<string, Tensor>>
  }

  #classOf(feed: Feed): Class {
    this.#check()
    let key = feed.key
    const deciding = this.#deciding.get(key)
    if (deciding) {
      const values = valuesText(feed, deciding.byValue)
      key += deciding.seen.has(values) || deciding.seen.size < MOST_VALUES ? values : OTHER_VALUES
    }
    let found = this.#classes.get(key)
    if (found) {
      if (this.#classes.size > 1) {
        this.#classes.delete(key) // to the end: the first is the one used longest ago
        this.#classes.set(key, found)
      }
      return found
    }
    found = key.endsWith(OTHER_VALUES) ? otherValues(feed, key, deciding!.byValue) : this.#record(feed)
    this.#classes.set(found.key, found)
    if (this.#classes.size > this.#options.classes) {
      const [oldest, { plan }] = this.#classes.entries().next().value!
      this.#classes.delete(oldest)
      if (plan) addon().planRelease(plan)
    }
    return found
  }

  #record(feed: Feed): Class {
    for (;;) {
      const byValue = this.#deciding.get(feed.key)?.byValue ?? none
      const recorded = this.#recordFor(feed, byValue)
      if (recorded.deciding.length === 0) {
        this.#deciding.get(feed.key)?.seen.add(valuesText(feed, byValue))
        return recorded
      }
      const all = [...byValue, ...recorded.deciding].sort((a, b) => a - b)
      this.#deciding.set(feed.key, { byValue: all, seen: new Set() })
    }
  }

  /** A class for these values of the inputs `byValue`; `deciding`: more inputs whose values decided something, and no plan. */
  #recordFor(feed: Feed, byValue: readonly number[]): Class & { readonly deciding: readonly number[] } {
    return onDevice(this.#device, () => scope(() => this.#recordHere(feed, byValue)))
  }

  #recordHere(feed: Feed, byValue: readonly number[]): Class & { readonly deciding: readonly number[] } {
    const native = addon()
    const inputs = inputsOf(feed, this.#device)
    const all = feed.single ? [inputs as Tensor] : Object.values(inputs as Readonly<Record<string, Tensor>>)
    const free = all.map((_, i) => i).filter((i) => !byValue.includes(i))
    const labels: string[] = []
    const began = performance.now()
    if (native.planBegin(free.map((i) => all[i]!.handle)) < 0) throw nativeError(native)
    let entries: (readonly [string, Tensor])[]
    let recorded: number
    let plan: number
    try {
      entries = Object.entries(this.#named(this.#forward(inputs, (path) => native.planMark(labels.push(path) - 1))))
      recorded = performance.now()
      const outputs = entries.map(([, t]) => t.handle)
      plan = native.planEnd(outputs, (this.#options.fuse ? 0 : UNFUSED) | (this.#options.convolution === 'direct' ? DIRECT : 0))
    } catch (e) {
      native.planDrop()
      throw e
    }
    let reason = ''
    let deciding = none
    if (plan < 0) {
      const bits = native.out[0]!
      const error = nativeError(native)
      if (error.code !== 'ERR_UNSUPPORTED') throw error
      reason = error.message
      deciding = free.filter((_, i) => Math.floor(bits / 2 ** i) % 2 === 1)
    }
    return {
      key: feed.key + valuesText(feed, byValue),
      byValue,
      names: feed.names,
      deciding,
      plan: Math.max(plan, 0),
      reason,
      outputs: infosOf(entries),
      labels,
      recordMs: recorded - began,
      compileMs: performance.now() - recorded,
      runs: 0,
    }
  }
}

function inputsOf(feed: Feed, on: Device): ModuleInput {
  const tensors = feed.values.map((v, i) => ownTensor(v, feed.dtypes[i]!, on))
  return feed.single ? tensors[0]! : Object.fromEntries(tensors.map((t, i) => [feed.names[i]!, t]))
}

/**
 * A session for a model, the file or folder of one, or a function of tensors. Nothing runs yet: classes of inputs are recorded when they first come.
 *
 * What JavaScript decides or draws in the recorded run is part of the plan: branches, numbers, and the seed of a random op (dropout, noise) that comes from a
 * generator of the host. Every run of that class then gives the numbers of the recorded one; random ops that must differ belong outside, as inputs.
 *
 * Imported graphs are optimized once, here (`optimize: false` leaves it out). Weights that a graph pass folded are copies: after training the model, make a new session.
 *
 * - a device that is not there: ERR_DEVICE
 * - a file that cannot be loaded: what {@link load} throws
 * - a function that gives no tensor or record of tensors: ERR_OPTION when it first runs
 * - `classes` that is not a positive integer: ERR_OPTION
 *
 * @example
 * const s = session((x) => ops.relu(ops.scaleShift(x, 2, -1)))
 * const { output } = s.runSync({ data: Float32Array.of(0, 1, 2), shape: [3] })   // output.data: 0, 1, 3
 * s.dispose()
 */
export function session(model: Model | SessionFunction | string, options: SessionOptions = {}): Session {
  if (typeof model !== 'string') return new Session(model, options, 0)
  const began = performance.now()
  const { device: on } = options
  const loaded = on === undefined ? loadModel(model) : onDevice(on, () => loadModel(model))
  return new Session(loaded, options, performance.now() - began, loaded)
}
