/**
 * How another thread makes the same thing: functions do not cross the border between threads, the name of a maker and what it is called with do.
 * `make` is a maker that Tersor has ("language", "regressionData"), or the absolute path or URL of a module whose default export is the maker.
 */
export interface Portable {
  readonly make: string
  /** Plain data, data sets, and things that are portable themselves. */
  readonly args: readonly unknown[]
}
