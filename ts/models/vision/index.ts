/** Nets for images. */
export { basicBlock, bottleneck, invertedResidual } from './blocks.js'
export { mobilenets } from './mobilenet.js'
export { resnets } from './resnet.js'
export { vggs } from './vgg.js'
