/** What a case of the bench is: data. One file per family beside this one. */

/** One bound of a case: `amount` operations or bytes at the rate that a micro-benchmark of rivals/native/limits.cc reaches. */
export interface Limit {
  readonly kernel: 'limit.f32' | 'limit.int8' | 'limit.bf16' | 'limit.spmm' | 'limit.read' | 'limit.copy'
  readonly amount: number
  readonly params?: Readonly<Record<string, number>>
}

/** One contender's part: the kernel and sizes that it is asked for. */
export interface Part {
  readonly contender: string
  readonly kernel: string
  /** Beyond the contender's name, where it takes part more than once. */
  readonly label?: string
  /** In addition to the case's. */
  readonly params?: Readonly<Record<string, number | string>>
}

export interface Case {
  readonly name: string
  readonly params: Readonly<Record<string, number | string>>
  /** Multiply-adds count as 2; 0 where bytes are the measure. */
  readonly operations: number
  /** Bytes that must be moved at least. */
  readonly bytes: number
  /** The case cannot be faster than the slowest of these. */
  readonly limits: readonly Limit[]
  /** The first one is Tersor: what the others are compared with. */
  readonly parts: readonly Part[]
  /** Caps under which it is of interest; default all. */
  readonly isas?: readonly string[]
  readonly threads?: readonly number[]
  /** Left out unless --all-cases or --case names it. */
  readonly rare?: boolean
  /** Peak memory is measured too, in a process of its own for each contender: caches of the cases before would hide it. */
  readonly memory?: boolean
  /** Milliseconds of a sample; default 4. */
  readonly ms?: number
}

export interface Family {
  readonly name: string
  readonly title: string
  /** What rates are called in tables. */
  readonly unit: 'GOP/s' | 'GFLOP/s' | 'GB/s'
  /** Weaker caps choose other algorithms here, not only narrower vectors: bench:all measures them too. */
  readonly capsMatter?: boolean
  readonly cases: readonly Case[]
}

/** A part of each of these contenders with the same kernel. */
export const parts = (kernel: string, ...contenders: string[]): Part[] => contenders.map((contender) => ({ contender, kernel }))

/** Reads of a working set: at the bandwidth of the cache or memory that it fits in. */
export const reads = (bytes: number, span = bytes): Limit => ({ kernel: 'limit.read', amount: bytes, params: { span } })

/** Larger than the last cache of server processors: 512 MiB. */
export const BEYOND_CACHES = 2 ** 29
/** Copies of a weight so that, visited in turn, it always comes from memory. */
export const copiesBeyondCaches = (bytes: number): number => Math.ceil(400e6 / bytes)
