import type { NativeAddon } from './addon.js' with { 'resolution-mode': 'import' }

/** Loads the addon (Node caches it) and says which file it came from. Throws an Error with code ERR_NATIVE. */
export function loadAddon(): { readonly native: NativeAddon; readonly addonPath: string }

/** Files that may be the library for a kind of device: those that exist, all that were looked for, and whether a variable of the environment names it. */
export function deviceFiles(kind: string): { readonly files: readonly string[]; readonly tried: readonly string[]; readonly own: boolean }
