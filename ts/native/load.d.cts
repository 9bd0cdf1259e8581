import type { NativeAddon } from './addon.js' with { 'resolution-mode': 'import' }

/** The loaded addon. Importing this file loads it; a failed load throws an Error with code ERR_NATIVE. */
export const native: NativeAddon
/** The file it came from. */
export const addonPath: string
