/** The worker's program, beside this file in dist. */
export const workerFile: string
/** `import(url)`. */
export function importModule(url: string): Promise<Record<string, unknown>>
