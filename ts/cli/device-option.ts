/** `--device` of commands that compute with a model: everything the command makes lies there. */
import { Option } from 'commander'
import { OptionError } from '../base/errors.js'
import { cpu, defaultDevice, device, deviceProblem, setDefaultDevice, type Device, type DeviceSpec } from '../native/device.js'
import { runCommand, type Ui } from './ui.js'

export interface DeviceCliOptions {
  readonly device?: string
  readonly fallback?: boolean
}

export const deviceOption = (): Option =>
  new Option('--device <name>', 'cpu, cuda, cuda:N, or auto (the first CUDA device, else the cpu)').default('cpu')
export const fallbackOption = (): Option =>
  new Option('--fallback', 'ops that the device has no kernel for run on the cpu, on copies; which, and how often, is said at the end')

/** runCommand with everything that the command makes on the device that was asked for. */
export function runOnDevice(
  o: DeviceCliOptions & { readonly json?: boolean },
  work: (ui: Ui) => Promise<void>,
  ...rest: Tail<Parameters<typeof runCommand>>
): Promise<void> {
  return runCommand(o.json ?? false, (ui) => onChosenDevice(o, ui, () => work(ui)), ...rest)
}
type Tail<T extends readonly unknown[]> = T extends [unknown, unknown, ...infer R] ? R : never

/** Says which device that is, and at the end what ran on the processor instead. */
async function onChosenDevice(o: DeviceCliOptions, ui: Ui, work: () => Promise<void>): Promise<void> {
  const { device: spec = 'cpu', fallback = false } = o
  if (fallback && spec === 'cpu') throw new OptionError('ERR_OPTION', '--fallback: only for --device cuda or auto')
  const chosen = device(spec as DeviceSpec, { fallback })
  if (spec !== 'cpu')
    ui.say(`device ${chosen.name}${chosen === cpu ? `: ${deviceProblem() ?? 'no CUDA device'}` : `: ${chosen.info()!.name}`}`)
  const before = defaultDevice()
  setDefaultDevice(chosen)
  try {
    await work()
  } finally {
    setDefaultDevice(before)
  }
  const text = fallbackText(chosen)
  if (text) ui.say(text)
}

function fallbackText(d: Device): string {
  const ops = Object.entries(d.fallbacks())
  return ops.length === 0 ? '' : `on the cpu, for ${d.name} has no kernel: ${ops.map(([op, times]) => `${op} (${times})`).join(', ')}`
}
