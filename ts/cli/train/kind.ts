/** What a task of `tersor train` is made of: its architectures, its defaults, and how data and model are prepared. One file per task beside this one. */
import { OptionError } from '../../base/errors.js'
import type { TrainTask } from '../../compress/train/task.js'
import type { Model } from '../../nn/index.js'
import type { SettingDefaults } from '../train-settings.js'
import type { Ui } from '../ui.js'

export interface TaskCliOptions {
  readonly data: string
  readonly validation?: string
  readonly seed: number
  readonly task?: string
  // Each for some tasks only.
  readonly hidden?: number
  readonly layers?: number
  readonly embedding?: number
  readonly dropout?: number
  readonly tied?: boolean
  readonly window?: number
  readonly attention?: string
  readonly decode?: string
  readonly loss?: string
}

/** Options that not all tasks have. */
export const OWN_OPTIONS = ['hidden', 'layers', 'embedding', 'dropout', 'tied', 'window', 'attention', 'decode', 'loss'] as const
export type OwnOption = (typeof OWN_OPTIONS)[number]

export interface Prepared {
  readonly model: Model
  readonly task: TrainTask
  /** What is trained on what, for people. */
  readonly facts: string
  /** Examples of the evaluation. */
  readonly held: number
}

export interface Kind {
  readonly architectures: readonly string[]
  readonly task: string
  /** Those of OWN_OPTIONS that it reads. */
  readonly options: readonly OwnOption[]
  readonly defaults: SettingDefaults
  prepare(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared>
}

/** ERR_OPTION for an option that this task does not read: it would do nothing. */
export function refuseOthers(kind: Kind, o: TaskCliOptions): void {
  const other = OWN_OPTIONS.find((name) => o[name] !== undefined && !kind.options.includes(name))
  if (other !== undefined)
    throw new OptionError(
      'ERR_OPTION',
      `train: --${other} is not for ${kind.task}${kind.options.length > 0 ? `, which has ${kind.options.map((name) => `--${name}`).join(', ')}` : ''}`,
    )
}

/** One of some words, or ERR_OPTION. */
export function oneWord<W extends string>(option: string, value: string, words: readonly W[]): W {
  const found = words.find((word) => word === value)
  if (found === undefined)
    throw new OptionError('ERR_OPTION', `train: --${option} must be one of ${words.join(', ')}, got ${JSON.stringify(value)}`)
  return found
}
