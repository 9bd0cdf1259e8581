/** The tokenizer of a folder: tokenizer.json, or the older vocabulary files. */
import { isTersorError, ModelFormatError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { readRegularFile } from '../../formats/index.js'
import { limitsOf } from '../../formats/limits.js'
import { HubTokenizer, type HubTokenizerFiles } from '../tokenizer/hub.js'
import { byteLevel, tokensOfText, wordPiece } from '../tokenizer/vocabulary-files.js'
import type { HubConfig } from './config.js'
import { hasFile, readJson, type HubReadOptions } from './tensors.js'

const object = (json: Json): JsonObject => (typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as JsonObject) : {})

function readText(folder: string, name: string, options: HubReadOptions): string {
  const bytes = readRegularFile(`${folder}/${name}`, { ...options, maxBytes: limitsOf(options).jsonBytes })
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${name}: must be UTF-8`, {
      cause,
      details: { format: 'tokenizer', reason: 'encoding' },
    })
  }
}

/** The files as what a model carries; undefined where the folder has none (a model can also be given ids). */
export function readTokenizerFiles(
  where: string,
  folder: string,
  { type }: Pick<HubConfig, 'type'>,
  options: HubReadOptions,
): HubTokenizerFiles | undefined {
  const has = (name: string): boolean => hasFile(folder, name, options)
  try {
    const config = has('tokenizer_config.json') ? object(readJson(folder, 'tokenizer_config.json', options)) : {}
    let json: JsonObject
    if (has('tokenizer.json')) json = object(readJson(folder, 'tokenizer.json', options))
    else if (has('vocab.txt')) json = wordPiece(tokensOfText(readText(folder, 'vocab.txt', options)), config)
    else if (has('vocab.json') && has('merges.txt'))
      json = byteLevel(readJson(folder, 'vocab.json', options), readText(folder, 'merges.txt', options), type === 'roberta', config)
    else return undefined
    return new HubTokenizer({ tokenizer: 'huggingface', json, config }).files
  } catch (error) {
    if (!isTersorError(error) || error.code !== 'ERR_MODEL_FORMAT') throw error
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${error.message}`, {
      cause: error,
      details: { format: 'huggingface', reason: 'tokenizer' },
    })
  }
}
