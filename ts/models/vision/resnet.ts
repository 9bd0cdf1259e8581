/**
 * Residual nets (He, Zhang, Ren, Sun 2016), with the names of torchvision's checkpoints (conv1, bn1, layer1.0.conv1, ..., fc).
 *
 *   resnet20 .. resnet110      section 4.2, for 32 x 32 images: three stages of n blocks with 16, 32, 64 channels, shortcuts without parameters (option A)
 *   resnet18 .. resnet101      table 1, for 224 x 224 images: four stages, shortcuts by 1 x 1 convolutions. Images below 64 pixels get a 3 x 3 first
 *                              convolution of stride 1 and no pooling, as is usual for CIFAR
 */
import { activation, batchNorm, conv2d, globalAvgPool, linear, maxPool2d, sequential, type ModuleSpec } from '../../nn/index.js'
import { imageShape, type Architecture, type ArchitectureOptions } from '../architecture.js'
import { basicBlock, bottleneck, convolution } from './blocks.js'

/** Below this side an image is a small one. */
export const SMALL_IMAGE = 64

const stage = (count: number, block: (i: number) => ModuleSpec): ModuleSpec =>
  sequential(Object.fromEntries(Array.from({ length: count }, (_, i) => [i, block(i)])))

/** For small images, depth 6 n + 2. */
function shallow(name: string, depth: number): (options: ArchitectureOptions) => Architecture {
  return ({ inputShape, classes }) => {
    const [c, h, w] = imageShape(name, inputShape)
    const layers: Record<string, ModuleSpec> = {
      conv1: convolution(c, 16, 3),
      bn1: batchNorm({ channels: 16 }),
      relu: activation({ function: 'relu' }),
    }
    ;[16, 32, 64].forEach((out, s) => {
      layers[`layer${s + 1}`] = stage((depth - 2) / 6, (i) =>
        basicBlock({ in: i > 0 ? out : s > 0 ? out / 2 : 16, out, stride: i === 0 && s > 0 ? 2 : 1, shortcut: 'pad' }),
      )
    })
    layers.avgpool = globalAvgPool({})
    layers.fc = linear({ in: 64, out: classes, bias: true, init: 'fanIn' })
    return { inputShape: [c, h, w], spec: sequential(layers) }
  }
}

/** `wide`: blocks with a bottleneck, whose output has four times the channels. */
function deep(name: string, counts: readonly number[], wide: boolean): (options: ArchitectureOptions) => Architecture {
  return ({ inputShape, classes }) => {
    const [c, h, w] = imageShape(name, inputShape)
    const small = Math.min(h, w) < SMALL_IMAGE
    const layers: Record<string, ModuleSpec> = {
      conv1: small
        ? convolution(c, 64, 3)
        : conv2d({ in: c, out: 64, kernel: [7, 7], stride: [2, 2], padding: [3, 3], bias: false, init: 'he' }),
      bn1: batchNorm({ channels: 64 }),
      relu: activation({ function: 'relu' }),
      ...(small ? {} : { maxpool: maxPool2d({ kernel: [3, 3], stride: [2, 2], padding: [1, 1] }) }),
    }
    let from = 64
    counts.forEach((count, s) => {
      const width = 64 * 2 ** s
      const out = wide ? 4 * width : width
      layers[`layer${s + 1}`] = stage(count, (i) => {
        const at = { in: i === 0 ? from : out, out, stride: i === 0 && s > 0 ? 2 : 1 }
        return wide ? bottleneck({ ...at, width }) : basicBlock(at)
      })
      from = out
    })
    layers.avgpool = globalAvgPool({})
    layers.fc = linear({ in: from, out: classes, bias: true, init: 'fanIn' })
    return { inputShape: [c, h, w], spec: sequential(layers) }
  }
}

export const resnets = {
  resnet20: shallow('resnet20', 20),
  resnet32: shallow('resnet32', 32),
  resnet44: shallow('resnet44', 44),
  resnet56: shallow('resnet56', 56),
  resnet110: shallow('resnet110', 110),
  resnet18: deep('resnet18', [2, 2, 2, 2], false),
  resnet34: deep('resnet34', [3, 4, 6, 3], false),
  resnet50: deep('resnet50', [3, 4, 6, 3], true),
  resnet101: deep('resnet101', [3, 4, 23, 3], true),
} as const
