/**
 * VGG nets (Simonyan, Zisserman 2015, table 1, columns A, B, D, E), with the names of torchvision's checkpoints (features.0, ..., classifier.6); `_bn` with a
 * batch norm behind each convolution. Images below 64 pixels (at least 32) get one linear layer as their head, as is usual for CIFAR.
 */
import {
  activation,
  adaptiveAvgPool2d,
  batchNorm,
  dropout,
  flatten,
  linear,
  maxPool2d,
  sequential,
  type ModuleSpec,
} from '../../nn/index.js'
import { imageShape, shrink, type Architecture, type ArchitectureOptions } from '../architecture.js'
import { convolution } from './blocks.js'
import { SMALL_IMAGE } from './resnet.js'

/** Convolutions of each of the five stages. */
const depths = { vgg11: [1, 1, 2, 2, 2], vgg13: [2, 2, 2, 2, 2], vgg16: [2, 2, 3, 3, 3], vgg19: [2, 2, 4, 4, 4] } as const
const widths = [64, 128, 256, 512, 512] as const

function vgg(name: keyof typeof depths, norm: boolean): (options: ArchitectureOptions) => Architecture {
  return ({ inputShape, classes }) => {
    const [c, h, w] = imageShape(name, inputShape)
    // Five halvings must leave something.
    const sides = [h, w].map((side) => [0, 1, 2, 3, 4].reduce((s) => shrink(name, s, 2, 2), side))
    const relu = activation({ function: 'relu' })
    const features: ModuleSpec[] = []
    let from = c
    depths[name].forEach((count, s) => {
      const out = widths[s]!
      for (let i = 0; i < count; i++) {
        features.push(convolution(from, out, 3, { bias: true }), ...(norm ? [batchNorm({ channels: out })] : []), relu)
        from = out
      }
      features.push(maxPool2d({ kernel: [2, 2], stride: [2, 2] }))
    })
    const head = (into: number, out: number): ModuleSpec => linear({ in: into, out, bias: true, init: 'fanIn' })
    const drop = dropout({ p: 0.5 })
    const small = Math.min(h, w) < SMALL_IMAGE
    return {
      inputShape: [c, h, w],
      spec: sequential({
        features: sequential(Object.fromEntries(features.map((layer, i) => [i, layer]))),
        ...(small ? {} : { avgpool: adaptiveAvgPool2d({ size: [7, 7] }) }),
        flatten: flatten({}),
        classifier: small
          ? head(512 * sides[0]! * sides[1]!, classes)
          : sequential({
              0: linear({ in: 512 * 49, out: 4096, bias: true, init: 'he' }),
              1: relu,
              2: drop,
              3: linear({ in: 4096, out: 4096, bias: true, init: 'he' }),
              4: relu,
              5: drop,
              6: head(4096, classes),
            }),
      }),
    }
  }
}

export const vggs = {
  vgg11: vgg('vgg11', false),
  vgg13: vgg('vgg13', false),
  vgg16: vgg('vgg16', false),
  vgg19: vgg('vgg19', false),
  vgg11_bn: vgg('vgg11', true),
  vgg13_bn: vgg('vgg13', true),
  vgg16_bn: vgg('vgg16', true),
  vgg19_bn: vgg('vgg19', true),
} as const
