/**
 * Nets of depthwise separable convolutions. V1: Howard et al. 2017, table 1. V2: Sandler et al. 2018, table 2, with the names of torchvision's checkpoints
 * (features.0.0, features.1.conv.0.0, ..., classifier.1). Images below 64 pixels are not halved by the first convolution (V2: nor in the second stage).
 */
import { dropout, globalAvgPool, linear, sequential, type ModuleSpec } from '../../nn/index.js'
import { imageShape, type Architecture, type ArchitectureOptions } from '../architecture.js'
import { convBlock, invertedResidual } from './blocks.js'
import { SMALL_IMAGE } from './resnet.js'

const numbered = (layers: readonly ModuleSpec[]): ModuleSpec => sequential(Object.fromEntries(layers.map((layer, i) => [i, layer])))

function mobilenetV1({ inputShape, classes }: ArchitectureOptions): Architecture {
  const [c, h, w] = imageShape('mobilenet_v1', inputShape)
  const features = [convBlock(c, 32, 3, { stride: Math.min(h, w) < SMALL_IMAGE ? 1 : 2 })]
  let from = 32
  // Channels behind each pair of a depthwise and a 1 x 1 convolution; the stride where they double, but for the first.
  for (const out of [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]) {
    const stride = out > from && from > 32 ? 2 : 1
    features.push(sequential({ 0: convBlock(from, from, 3, { stride, groups: from }), 1: convBlock(from, out, 1) }))
    from = out
  }
  return {
    inputShape: [c, h, w],
    spec: sequential({
      features: numbered(features),
      avgpool: globalAvgPool({}),
      classifier: linear({ in: from, out: classes, bias: true, init: 'fanIn' }),
    }),
  }
}

/** expansion, channels, blocks, stride of the first. */
const stagesV2 = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const

function mobilenetV2({ inputShape, classes }: ArchitectureOptions): Architecture {
  const [c, h, w] = imageShape('mobilenet_v2', inputShape)
  const small = Math.min(h, w) < SMALL_IMAGE
  const features = [convBlock(c, 32, 3, { stride: small ? 1 : 2, function: 'relu6' })]
  let from = 32
  stagesV2.forEach(([expand, out, count, first], s) => {
    for (let i = 0; i < count; i++) {
      features.push(invertedResidual({ in: from, out, expand, stride: i === 0 && !(small && s === 1) ? first : 1 }))
      from = out
    }
  })
  features.push(convBlock(from, 1280, 1, { function: 'relu6' }))
  return {
    inputShape: [c, h, w],
    spec: sequential({
      features: numbered(features),
      avgpool: globalAvgPool({}),
      classifier: sequential({ 0: dropout({ p: 0.2 }), 1: linear({ in: 1280, out: classes, bias: true, init: 'fanIn' }) }),
    }),
  }
}

export const mobilenets = { mobilenet_v1: mobilenetV1, mobilenet_v2: mobilenetV2 } as const
