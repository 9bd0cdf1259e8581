import type { NativeAddon } from './addon.js' with { 'resolution-mode': 'import' }

/** Loads the addon (Node caches it) and says which file it came from. Throws an Error with code ERR_NATIVE. */
export function loadAddon(): { readonly native: NativeAddon; readonly addonPath: string }
