/**
 * Devices: the processor, and what a device library (native/backend) finds. The library is loaded when a device is asked for, never at import. Tensors
 * lie on one device; an op runs where its tensors lie, and nothing is copied between devices but by `Tensor.to`.
 */
import { DeviceError, OptionError } from '../base/errors.js'
import type { NativeDevice, NativeDeviceMemory } from './addon.js'
import { addon, nativeError } from './call.js'
import { deviceFiles } from './load.cjs'

export type DeviceInfo = NativeDevice
export type DeviceMemory = NativeDeviceMemory

/** 'cpu', 'cuda' (the first), 'cuda:1', or 'auto': the first CUDA device where there is one, else the processor. */
export type DeviceSpec = Device | 'cpu' | 'cuda' | `cuda:${number}` | 'auto'

export interface DeviceOptions {
  /**
   * Whether an op that has no kernel there runs on the processor, on copies (default false: ERR_UNSUPPORTED). It counts: {@link Device.fallbacks}. Belongs
   * to the device in this thread, not to one object; left out, it stays as it was.
   */
  readonly fallback?: boolean
}

/** How many bytes of device memory a library may have given out, and did. */
const PEAK = 1
const BUDGET = 2
const TRIM = 3

/** A device of this thread: made by {@link device}. */
export class Device {
  /** 'cpu', 'cuda:0', ... */
  readonly name: string
  /** @internal Number of this thread's queue on it; 0: the processor. */
  readonly id: number

  /** @internal */
  constructor(id: number, name: string) {
    this.id = id
    this.name = name
  }

  /** 'cpu' or 'cuda'. */
  get kind(): string {
    return this.name.split(':')[0]!
  }
  /** Which of its kind. */
  get index(): number {
    return Number(this.name.split(':')[1] ?? 0)
  }

  /** Name, driver, capability, memory; null for the processor. */
  info(): DeviceInfo | null {
    if (this.id === 0) return null
    return checked(addon().deviceInfo(this.kind, this.index))
  }

  /** Memory of tensors and scratch on the device: in use, peak, kept for later allocations, budget. All threads of the process together. */
  memory(): DeviceMemory {
    if (this.id > 0) return checked(addon().deviceMemory(this.id))
    const { bytes, peakBytes, blocks, budgetBytes } = addon().memory()
    return { bytes, peakBytes, blocks, cachedBytes: 0, budgetBytes }
  }
  /** Starts a new peak measurement. */
  resetPeakMemory(): void {
    if (this.id > 0) checked(addon().deviceMemory(this.id, PEAK))
    else addon().resetPeak()
  }
  /** Most bytes that tensors may take there; 0: the default (TERSOR_CUDA_MAX_BYTES, else nine tenths of the device). Beyond it: ERR_MEMORY_BUDGET. */
  setMemoryBudget(bytes: number): void {
    if (this.id > 0) checked(addon().deviceMemory(this.id, BUDGET, bytes))
    else if (addon().setMemoryBudget(bytes) < 0) throw nativeError(addon())
  }
  /** Gives memory that is kept for later allocations back to the device. */
  trimMemory(): void {
    if (this.id > 0) checked(addon().deviceMemory(this.id, TRIM))
  }

  /** Waits until everything that this thread has asked of the device is done. A fault of earlier work shows here at the latest: ERR_DEVICE. */
  synchronize(): void {
    if (this.id > 0) checked(addon().deviceSynchronize(this.id))
  }

  /** Whether ops without a kernel run on the processor. */
  get fallback(): boolean {
    return this.id > 0 && checked(addon().deviceFallback(this.id)).on
  }
  /** Ops that ran on the processor because the device has no kernel for them, and how often. */
  fallbacks(): Readonly<Record<string, number>> {
    return this.id > 0 ? checked(addon().deviceFallback(this.id)).ops : {}
  }

  toString(): string {
    return this.name
  }
}

/** What a function of the addon gave, or its failure. */
function checked<T>(result: T | -1): T {
  if (result === -1) throw nativeError(addon())
  return result
}

/** The processor. */
export const cpu: Device = new Device(0, 'cpu')

const known: Device[] = [cpu]
let current: Device = cpu

/** The device of this thread's queue with that number. */
function numbered(id: number): Device {
  return (known[id] ??= new Device(id, checked(addon().deviceName(id))))
}

/** @internal Whether this thread has any device but the processor. */
export function hasDevices(): boolean {
  return known.length > 1
}

/** @internal Where the tensor with this handle lies. */
export function deviceOf(handle: number): Device {
  return known.length > 1 ? numbered(checked(addon().deviceOf(handle))) : cpu
}

/** @internal A handle came from another thread: its device may be new here. */
export function noteDevice(handle: number): void {
  const id = checked(addon().deviceOf(handle))
  if (id > 0) numbered(id)
}

/**
 * Why there is no device of this kind: no library (and where it was looked for), one that was made for another version, no driver, a driver that is too
 * old, no device. Undefined when there is one.
 */
export function deviceProblem(kind: 'cuda' = 'cuda'): string | undefined {
  const why = library(kind)
  if (why) return why
  return addon().deviceCount(kind) < 0 ? nativeError(addon()).message : undefined
}

const loaded = new Set<string>()

/** Loads the library of a kind; why not, or "". */
function library(kind: string): string {
  if (loaded.has(kind)) return ''
  if (addon().deviceLoad(kind, []) === '') return (loaded.add(kind), '') // another thread has loaded it
  const { files, tried, own } = deviceFiles(kind)
  if (files.length === 0) {
    const places = tried.map((file) => `  ${file}`).join('\n')
    return `no library for ${kind} was found. Tried${own ? ` (TERSOR_${kind.toUpperCase()}_PATH)` : ''}:\n${places}`
  }
  const why = addon().deviceLoad(kind, files)
  if (why === '') loaded.add(kind)
  return why && `the library for ${kind} was refused:\n${why}`
}

/** What the loaded library is: its file, how it was built, "op dtypes" of each kernel. Undefined where none is loaded. */
export function deviceLibrary(kind: 'cuda' = 'cuda'): { readonly path: string; readonly build: string; readonly rows: readonly string[] } | undefined {
  return library(kind) === '' ? checked(addon().deviceLibrary(kind)) : undefined
}

/** Every device: the processor first, then those of the CUDA library, if there is one that works ({@link deviceProblem} says why not). */
export function devices(): Device[] {
  if (deviceProblem('cuda') !== undefined) return [cpu]
  return [cpu, ...Array.from({ length: addon().deviceCount('cuda') }, (_, i) => open('cuda', i))]
}

function open(kind: string, index: number): Device {
  return numbered(checked(addon().deviceOpen(kind, index)))
}

/**
 * The device of that name, ready for work of this thread.
 *
 * - no library, no driver, no such device, a library of another version: ERR_DEVICE, with what was tried
 * - a name that is none: ERR_OPTION
 *
 * @example
 * device('cpu').name   // 'cpu'
 */
export function device(spec: DeviceSpec, options: DeviceOptions = {}): Device {
  const found = spec instanceof Device ? spec : named(spec)
  if (options.fallback !== undefined && found.id > 0) checked(addon().deviceFallback(found.id, options.fallback))
  return found
}

function named(spec: string): Device {
  const match = /^(?:(cpu|auto)|(cuda)(?::(\d{1,3}))?)$/.exec(spec)
  if (!match) throw new OptionError('ERR_OPTION', `device: must be 'cpu', 'cuda', 'cuda:<number>' or 'auto', got ${JSON.stringify(spec)}`)
  if (match[1] === 'cpu') return cpu
  const why = deviceProblem('cuda')
  if (match[1] === 'auto') return why === undefined ? open('cuda', 0) : cpu
  if (why !== undefined) throw new DeviceError('ERR_DEVICE', `device: ${spec} is not available: ${why}`)
  return open('cuda', Number(match[3] ?? 0))
}

/** The device that tensors are made on where no other tensor decides. */
export function defaultDevice(): Device {
  return current
}

/** Tensors of this thread are made there from now on: by `tensor`, `zeros`, random ops, loaders. Inside `onDevice` it holds until that ends. */
export function setDefaultDevice(spec: DeviceSpec): Device {
  const found = device(spec)
  if (found !== current) checked(addon().deviceUse(found.id))
  return (current = found)
}

/**
 * Runs fn with tensors made on a device: by `tensor`, `zeros`, random ops, loaders, constants inside functions. Ops on tensors that exist run where those lie.
 * fn must not return a promise (ERR_OPTION): code of others would run in between; {@link setDefaultDevice} is for whole programs.
 *
 * @example
 * onDevice('cpu', () => ops.add(tensor([1, 2]), tensor([3, 4])))   // [4, 6]
 */
export function onDevice<T>(spec: DeviceSpec, fn: () => T): T {
  const before = current
  setDefaultDevice(spec)
  let result: T
  try {
    result = fn()
  } finally {
    setDefaultDevice(before)
  }
  if (result instanceof Promise) {
    result.catch(() => undefined) // nobody will look at it
    throw new OptionError('ERR_OPTION', 'onDevice: the function must be synchronous, it returned a promise')
  }
  return result
}

/** @internal onDevice where t lies; in a thread that has no device it only calls fn. */
export function whereTensorLies<T>(t: { readonly handle: number } | undefined, fn: () => T): T {
  if (known.length === 1 || t === undefined) return fn()
  const place = deviceOf(t.handle)
  return place === current ? fn() : onDevice(place, fn)
}
