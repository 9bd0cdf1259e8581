/** What the addon exports (native/bindings/). Functions answer -1 on failure; `lastError()` then says why. */

export interface NativeRow {
  readonly family: string
  readonly variant: string
  readonly function: string
  /** Weakest ISA level that has what the row needs. */
  readonly needs: string
  readonly detected: boolean
  readonly usable: boolean
  readonly chosen: boolean
  /** Why a usable row is left out on this processor although it stands before the chosen one, or "". */
  readonly passedOver: string
}

export interface NativeIsa {
  /** Value of TERSOR_ISA, "" when it is not set. */
  readonly cap: string
  /** Why the cap could not be honoured, or "". */
  readonly error: string
  /** Which kernel failed its trial at start, so that its instructions are not used, or "". */
  readonly withdrawn: string
  readonly levels: readonly { readonly name: string; readonly detected: boolean; readonly allowed: boolean }[]
}

export interface NativeMemory {
  readonly bytes: number
  readonly peakBytes: number
  readonly blocks: number
  readonly budgetBytes: number
  readonly tensors: number
  readonly tensorBytes: number
}

/** A device, as its library describes it. */
export interface NativeDevice {
  readonly name: string
  /** Version of the driver as text, and the newest run time that it serves as CUDA counts (13000: 13.0). */
  readonly driver: string
  readonly driverVersion: number
  readonly runtimeVersion: number
  readonly uuid: string
  /** Compute capability: 90 is 9.0. */
  readonly sm: number
  readonly multiprocessors: number
  /** Shared memory that a block may have. */
  readonly sharedBytes: number
  readonly clockKHz: number
  readonly l2Bytes: number
  readonly memoryBytes: number
  readonly freeBytes: number
}

export interface NativeDeviceMemory {
  readonly bytes: number
  readonly peakBytes: number
  readonly blocks: number
  /** Released blocks that are kept for the next allocations. */
  readonly cachedBytes: number
  readonly budgetBytes: number
}

/** What a plan is made of. */
export interface NativePlan {
  /** Memory of a run in progress, and what its temporaries would take side by side. */
  readonly arenaBytes: number
  readonly separateBytes: number
  /** Weights and tables that the plan reads; most are shared with the model. */
  readonly constantBytes: number
  /** Steps that write where their input ends. */
  readonly inPlace: number
  /** Argument lists and arenas that are kept now. */
  readonly frames: number
  /** label: what `planMark` said last when the step was recorded, -1 before the first. */
  readonly steps: readonly { readonly op: string; readonly inputs: string; readonly results: string; readonly label: number }[]
  readonly outputs: readonly string[]
}

export interface NativeAddon {
  readonly schemaHash: string
  readonly schemas: readonly string[]
  /** Runs the op with this index on the arguments in the page (`out`); undefined, or -1 after a failure. */
  call(this: void, op: number): number | undefined
  /** One function per row of ops.def: arguments in row order, tensors as handles; returns the number of results. Any type is read and checked. */
  readonly ops: readonly ((...args: unknown[]) => number)[]
  /**
   * The page (native/bindings/env.h). From 0: results of the last call, [handle, dtype index, rank, dims 0..7] each. From 72: arguments of `call` in row
   * order, one number each, nine for a list, then memory for the results. It never leaves ts/native and ts/tensor.
   */
  readonly out: Float64Array
  /** Promise of the same numbers, or null (`lastError`). out[0] is the ticket that `cancel` takes. */
  callAsync(op: number, ...args: unknown[]): Promise<readonly number[]> | null
  cancel(ticket: number): void
  /** Calls from now on are recorded; the handles are the inputs. */
  planBegin(inputs: readonly number[]): number
  /** Steps that were recorded since the last mark get this label. */
  planMark(label: number): void
  /**
   * Makes a plan of what was recorded: its number, or -1 (ERR_UNSUPPORTED says why the run cannot be replayed). Then out[0] is not 0 where only values of
   * small integer inputs are in the way (bit i: input i): leaving them out of `planBegin` makes a plan for these values. flags: 1 no rewriting.
   */
  planEnd(outputs: readonly number[], flags: number): number
  planDrop(): void
  /** inputs: typed arrays or handles. flags: 1 outputs as handles, 2 a last entry with begin and end of each step in nanoseconds. */
  planRun(plan: number, inputs: readonly (number | ArrayBufferView)[], flags: number): readonly unknown[] | null
  /** A list where the run is shorter than the way to another thread: it has been done here. */
  planRunAsync(
    plan: number,
    inputs: readonly (number | ArrayBufferView)[],
    flags: number,
  ): Promise<readonly unknown[]> | readonly unknown[] | null
  planInfo(plan: number): NativePlan
  planRelease(plan: number): void
  /** Jobs that run in another thread (native/bindings/worker_job.h); ts/native/worker-job.ts wraps them. */
  jobOpen(): number
  jobAttach(id: number): number
  jobInterruptible(on: number): number
  jobCancel(id: number): void
  jobLend(id: number, handle: number): number
  jobTake(id: number, index: number): number
  jobClose(id: number): void
  create(dtype: number, shape: readonly number[]): number
  /** With the array's bytes. turned: they are those of the transposed matrix. */
  createFrom(dtype: number, shape: readonly number[], array: ArrayBufferView, turned: boolean): number
  view(handle: number, shape: readonly number[], strides: readonly number[], offset: number): number
  write(handle: number, array: ArrayBufferView): number
  read(handle: number, array: ArrayBufferView): number
  release(this: void, handle: number): boolean
  /** A row-major copy on the device with that number (0: the processor), in the page; the same memory where it lies there already. */
  toDevice(handle: number, device: number): number
  /** Loads the library of a kind of device from the first of these files that is one: "", or why none is. */
  deviceLoad(kind: string, files: readonly string[]): string
  deviceLibrary(kind: string): { readonly path: string; readonly build: string; readonly rows: readonly string[] } | -1
  deviceCount(kind: string): number
  deviceInfo(kind: string, index: number): NativeDevice | -1
  /** The number of this thread's queue on a device, from 1. */
  deviceOpen(kind: string, index: number): number
  deviceOf(handle: number): number
  deviceName(device: number): string | -1
  /** Tensors that no other tensor decides are made there from now on. */
  deviceUse(device: number): number
  deviceSynchronize(device: number): number
  deviceFallback(device: number, on?: boolean): { readonly on: boolean; readonly ops: Readonly<Record<string, number>> } | -1
  /** what: 1 starts a new peak, 2 sets the budget, 3 gives back what is cached. */
  deviceMemory(device: number, what?: number, bytes?: number): NativeDeviceMemory | -1
  /** For tests: fault 0 memory, 1 kernel, 2 device lost, at the n-th time from now (0: never). */
  deviceInject(device: number, fault: number, n: number): number
  lastError(): { readonly code: string; readonly message: string }
  memory(): NativeMemory
  resetPeak(): void
  setMemoryBudget(bytes: number): number
  threads(): number
  setThreads(n: number): number
  isa(): NativeIsa
  kernelRows(): readonly NativeRow[]
}
