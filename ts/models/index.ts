export { architectures, type Architecture, type ArchitectureName, type ArchitectureOptions } from './architectures.js'
export { convnet } from './convnet.js'
export { fromCheckpoint, type CheckpointOptions, type NamedTensors } from './checkpoint.js'
export { loadModel, modelFileBytes, saveModel, type LoadOptions } from './file.js'
export { batchInputs, evaluationBatches, registerTextEncoder, textEncoder, type TextEncoder } from './inputs.js'
export { CarriedState, continueText, languageModel, type LanguageModelConfig } from './language.js'
export { ggufArchitectures, loadGguf, saveGguf, type SaveGgufOptions, type WritableType } from './gguf/index.js'
export { lenet5 } from './lenet5.js'
export { mlp } from './mlp.js'
export { basicBlock, bottleneck, invertedResidual } from './vision/index.js'
export { vocabularyOf, withVocabulary } from './vocabulary.js'
export { PAIR_VOCABULARIES, pairVocabulariesOf, translateTexts, withPairVocabularies } from './pairs.js'
export {
  loadHuggingFace,
  publishedConfigs,
  saveHuggingFace,
  transformerSpec,
  type HeadName,
  type HuggingFaceOptions,
  type PublishedName,
  type SaveHuggingFaceOptions,
  type SpecOptions,
} from './huggingface/index.js'
export { HubTokenizer, tokenizerOf, withTokenizer, type HubTokenizerFiles, type TextOrPair } from './tokenizer/hub.js'
export { buildWordPiece } from './tokenizer/build-word-piece.js'
export { transformer, type TransformerConfig } from './transformer/body.js'
export { generate, generateTokens, type GenerateOptions } from './generate.js'
export { causalLanguage, maskedLanguage, textClassifier, textEmbedding, tokenClassifier } from './transformer/heads.js'
export { seq2seq, type Seq2seqConfig } from './seq2seq.js'
export { translate, type TranslateOptions, type Translation } from './translate.js'
