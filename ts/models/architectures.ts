/** Built-in architectures by name: functions from the data's shape to a spec. */
import type { Architecture, ArchitectureOptions } from './architecture.js'
import { convnet } from './convnet.js'
import { lenet5 } from './lenet5.js'
import { mlp } from './mlp.js'
import { mobilenets } from './vision/mobilenet.js'
import { resnets } from './vision/resnet.js'
import { vggs } from './vision/vgg.js'

export const architectures = { mlp, lenet5, convnet, ...resnets, ...vggs, ...mobilenets } as const satisfies Record<
  string,
  (o: ArchitectureOptions) => Architecture
>
export type ArchitectureName = keyof typeof architectures
export { imageShape, shrink, type Architecture, type ArchitectureOptions } from './architecture.js'
