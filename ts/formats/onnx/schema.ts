/** The messages of onnx.proto for the protobuf library. `.proto` source, field numbers and comments: ONNX 1.20, https://github.com/onnx/onnx */
import type { DescMessage } from '@bufbuild/protobuf'
import { fileDesc, type GenMessage } from '@bufbuild/protobuf/codegenv2'
import type { ModelProto } from 'onnx-buf'
import { onnxDescriptor } from './descriptor.gen.js'

const file = fileDesc(onnxDescriptor)

export function messageNamed(name: string): DescMessage {
  return file.messages.find((message) => message.name === name)!
}

export const modelSchema = messageNamed('ModelProto') as GenMessage<ModelProto>
