/** File formats: tensors in and out of files, strictly and crash-safe. The public names of `tersor/formats`. */
export type { DType, RawTensor } from '../base/dtype.js'
export { AtomicFile, makeFolder, writeFileAtomic, type WriteOptions } from './atomic.js'
export type { BeneathOptions } from './beneath.js'
export { detectFormat, readTensors, type FormatName } from './detect.js'
export { openSource, readRegularFile, type ByteSource, type OpenOptions } from './files.js'
export * from './gguf/index.js'
export { encodeIdx, parseIdx, readIdx, writeIdx } from './idx.js'
export { nodeIo, type FileIo, type FileStat } from './io.js'
export { defaultLimits, type Limits, type ReadOptions } from './limits.js'
export { encodeNpy, parseNpy, readNpy, writeNpy } from './npy.js'
export { encodeNpz, parseNpz, readNpz, writeNpz, type NpzWriteOptions } from './npz.js'
export {
  parseOnnx,
  readOnnx,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxReadOptions,
  type OnnxTensor,
} from './onnx/index.js'
export {
  SafetensorsFile,
  encodeSafetensors,
  openSafetensors,
  openSafetensorsBeneath,
  parseSafetensors,
  readSafetensors,
  writeSafetensors,
  type SafetensorsContent,
  type SafetensorsReadOptions,
  type SafetensorsWriteOptions,
} from './safetensors.js'
export {
  ShardedSafetensors,
  openModelTensors,
  openSharded,
  writeSharded,
  type LazyTensor,
  type ShardOptions,
} from './safetensors-shards.js'
export type { ForeignEntry, TensorEntry } from './safetensors-header.js'
export { readTfjs, type TfjsModel } from './tfjs.js'
