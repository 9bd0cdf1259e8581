/** Recipes by name. `tersor compress --recipe NAME --print-recipe` shows them; they are starting points, not special cases. */
import { dual } from './dual/build.js'
import { filters } from './prune/filters.js'
import { heads } from './prune/heads.js'
import { magnitude } from './prune/magnitude.js'
import { rows } from './prune/rows.js'
import { sparsegpt } from './prune/sparsegpt.js'
import type { PassSpec } from './pass.js'
import { auto } from './quantize/auto.js'
import { mixed } from './quantize/mixed.js'
import { qat } from './quantize/qat.js'
import { rtn } from './quantize/rtn.js'
import { staticInt8 } from './quantize/static-int8.js'
import { recipe, type Recipe } from './recipe.js'
import { csr } from './sparsify/csr.js'
import { layout as sparsifyLayout } from './sparsify/layout.js'
import { retrain, type Retrain } from './train/retrain.js'

export interface Preset {
  readonly summary: string
  /** What the recipe needs: nothing, data to calibrate on, or a trained classifier and its training data. */
  readonly needs: 'nothing' | 'calibration' | 'training'
  readonly recipe: Recipe
}

/**
 * Layers that multiply compute on integers; tables have no inputs to quantize and are rounded row by row. Ranges of inputs as they were seen: clipping the
 * few large ones costs PP-OCRv4 lines (docs/performance/accuracy.md).
 */
const int8: readonly PassSpec[] = [staticInt8({ calibration: 'minmax' }), rtn({ bits: 8, layout: 'channel' }, { targets: ['@table'] })]

/**
 * Removes 20 % of the survivors 8 times, 5.96x, retraining each time; then 8-bit codes, then only the nonzero ones. One scale per tensor:
 * most codes are small then, and the entropy coder makes a quarter less of them than with scales per channel.
 */
const rounds = (how: Retrain): readonly (readonly PassSpec[])[] => [
  [magnitude({ iterative: { fraction: 0.2, rounds: 8 }, scope: 'global', retrain: how })],
  [rtn({ bits: 8, layout: 'tensor' })],
  [csr()],
]

function preset(
  name: string,
  needs: Preset['needs'],
  summary: string,
  stages: readonly (readonly PassSpec[])[],
): readonly [string, Preset] {
  return [name, { summary, needs, recipe: recipe(stages, { name }) }]
}

/** By name, in the order in which lists show them. */
export const presets: Readonly<Record<string, Preset>> = Object.fromEntries([
  preset('int8-static', 'calibration', '8-bit weights and inputs, integer arithmetic; 4x smaller', [int8]),
  preset('int8-auto', 'calibration', 'int8-static, but layers that cost more than half a point stay floating', [
    [auto(), rtn({ bits: 8, layout: 'channel' }, { targets: ['@table'] })],
  ]),
  preset('int8-weights', 'nothing', '8-bit weights per channel, floating arithmetic; 4x smaller', [[rtn({ bits: 8, layout: 'channel' })]]),
  preset('int4-group', 'nothing', '4-bit weights with a scale per 32 values; 7x smaller', [
    [rtn({ bits: 4, mode: 'affine', layout: 'group', groupSize: 32, range: 'mse', scales: 'f16' })],
  ]),
  preset('int-mixed', 'calibration', '2 to 8 bits for each layer by its sensitivity (Hessian traces), a scale per 32 values; 8x smaller', [
    [mixed({ budget: '8x' })],
  ]),
  preset(
    'int8-qat',
    'training',
    'quantization-aware training for an epoch: 8-bit weights per channel and inputs, integer arithmetic; 4x smaller',
    [[qat({ scheme: 'jacob', layout: 'channel', retrain: retrain.rewindLearningRate({ epochs: 1 }) })]],
  ),
  preset('int4-qat', 'training', 'learned steps (LSQ) for two epochs: 4-bit weights per channel, 8-bit inputs; 8x smaller', [
    [qat({ scheme: 'lsq', bits: 4, inputs: 8, layout: 'channel', retrain: retrain.rewindLearningRate({ epochs: 2 }) })],
  ]),
  preset(
    'dual-module',
    'calibration',
    'little 4-bit twins answer half of the outputs of LSTM, GRU and linear layers; larger file, less memory read',
    [[dual({ ratio: 0.5 })]],
  ),
  preset('sparse-2of4', 'calibration', 'two of each four weights stay (SparseGPT), stored 2:4; 1.8x smaller, no retraining', [
    [sparsegpt({ structure: '2:4' })],
    [sparsifyLayout({ layout: '2:4' })],
  ]),
  preset('prune50-int8', 'calibration', 'half of the weights 0, then int8-static, stored sparsely; no retraining', [
    [magnitude({ sparsity: 0.5, scope: 'local' })],
    int8,
    [csr()],
  ]),
  preset(
    'filters50',
    'training',
    'half of the filters of every convolution cut out, then the training once more (learning-rate rewinding, 1 epoch)',
    [[filters({ ratio: 0.5, retrain: retrain.rewindLearningRate({ epochs: 1 }) })]],
  ),
  preset(
    'filters50-int8',
    'training',
    'the same, then 8-bit weights and inputs; about a quarter of the work; 15x smaller where convolutions hold the weights',
    [[filters({ ratio: 0.5, retrain: retrain.rewindLearningRate({ epochs: 1 }) })], int8],
  ),
  preset('heads30-rows30', 'calibration', '30 % of attention heads (by their gradient) and of hidden neurons cut out; no retraining', [
    [heads({ ratio: 0.3 })],
    [rows({ ratio: 0.3 })],
  ]),
  preset(
    'prune-lr-rewind-int8',
    'training',
    '8 x 20 % of the survivors, learning-rate rewinding, sparse int8; about 20x smaller',
    rounds(retrain.rewindLearningRate({ epochs: 1 })),
  ),
  preset(
    'prune-weight-rewind-int8',
    'training',
    'the same with weight rewinding (needs training snapshots)',
    rounds(retrain.rewindWeights({ epochs: 1 })),
  ),
  preset('prune-finetune-int8', 'training', 'the same with fine-tuning at the last learning rate', rounds(retrain.finetune({ epochs: 1 }))),
  preset(
    'prune90-distill-int8',
    'training',
    '90 % of the weights 0, two epochs of learning from the model as it was (or --teacher), sparse int8; about 15x smaller',
    [
      [
        magnitude({
          sparsity: 0.9,
          scope: 'global',
          retrain: retrain.rewindLearningRate({ epochs: 2 }),
          distill: { temperature: 4, alpha: 0.9 },
        }),
      ],
      [rtn({ bits: 8, layout: 'tensor' })],
      [csr()],
    ],
  ),
])
