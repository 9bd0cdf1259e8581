export { loadGguf, readGgufTensor } from './load.js'
export { ggufArchitectures } from './architectures.js'
export { writableTypes, type WritableType } from './quantize.js'
export { saveGguf, type SaveGgufOptions } from './save.js'
