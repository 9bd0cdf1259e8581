/** Training steps of nets for images: LeNet-5 over MNIST's sizes as `tersor train` does it, and ResNet-20 on 32 x 32 images (He et al. 2016, section 4.2). */
import { parts, type Case } from './case.js'

/** Multiply-adds of one image's value. */
const lenet = { first: 6 * 25 * 784, later: 16 * 150 * 100 + 400 * 120 + 120 * 84 + 84 * 10 }
const resnet = {
  first: 16 * 27 * 1024,
  later: 6 * 16 * 144 * 1024 + (32 * 144 + 5 * 32 * 288) * 256 + (64 * 288 + 5 * 64 * 576) * 64 + 64 * 10,
}

/** Value, gradient of the weight, and of the input except in the first layer. `images` in steps of `batch`. */
function one(name: string, params: Case['params'], images: number, products: { readonly first: number; readonly later: number }): Case {
  const operations = 2 * images * (2 * products.first + 3 * products.later)
  return {
    name,
    params,
    operations,
    bytes: 0,
    limits: [{ kernel: 'limit.f32', amount: operations }],
    parts: parts('images.train', 'tersor', 'torch'),
    memory: true,
    ms: 400,
  }
}

export const imageSteps: readonly Case[] = [
  one('lenet5 epoch', { net: 'lenet5', channels: 1, side: 28, batch: 64, images: 60_000 }, 60_000, lenet),
  one('resnet20 step', { net: 'resnet20', channels: 3, side: 32, batch: 128, images: 128 }, 128, resnet),
]
