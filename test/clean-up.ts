/**
 * Clean-ups of helper modules. Test files of one worker process share their modules (vitest.config.ts), so a hook at the top of a helper would belong to
 * the first file that imports it; these run after every test, or every file.
 */
const lists = { test: [] as (() => void)[], file: [] as (() => void)[] }

export const afterThis = (what: 'test' | 'file', run: () => void): void => void lists[what].push(run)

/** Disposes x after the test, or after all tests of the file. */
export function track<T extends { dispose(): void }>(x: T, what: 'test' | 'file' = 'test'): T {
  afterThis(what, () => x.dispose())
  return x
}

export function cleanUp(what: 'test' | 'file'): void {
  for (const run of lists[what].splice(0).reverse()) run()
}

/** What earlier tests left as garbage is gone, its tensors given back: before memory is counted. */
export async function collected(): Promise<void> {
  globalThis.gc?.()
  await new Promise(setImmediate) // finalizers give their tensors back
}
