/** What `tersor train` can train: architectures by name, each with its tasks, its data and its defaults. */
import { OptionError } from '../../base/errors.js'
import type { SettingDefaults } from '../train-settings.js'
import { classifiers } from './classification.js'
import type { Kind, TaskCliOptions } from './kind.js'
import { languages } from './language.js'
import { regressors } from './regression.js'
import { translators } from './seq2seq.js'

export type { Prepared, TaskCliOptions } from './kind.js'
export { refuseOthers } from './kind.js'

/** Of two tasks for one architecture the first is meant, unless something says otherwise. */
const kinds: readonly Kind[] = [classifiers, regressors, languages, translators]

/** Names of all architectures, for help. */
export const architectureNames = [...new Set(kinds.flatMap((kind) => kind.architectures))]
export const taskNames = kinds.map((kind) => kind.task)

/** The data names columns of numbers to predict. */
const namesTargets = (data: string): boolean => /^(csv|tsv):.*,target=/.test(data)

/** The task that is meant: `task` says it, else the architecture; data with `target=` is for regression. */
export function kindOf(architecture: string, { task, data }: Pick<TaskCliOptions, 'task' | 'data'>): Kind {
  const fitting = kinds.filter((k) => k.architectures.includes(architecture))
  if (fitting.length === 0)
    throw new OptionError(
      'ERR_OPTION',
      `train: unknown architecture ${JSON.stringify(architecture)}; known: ${architectureNames.join(', ')}`,
    )
  const wanted = task ?? (fitting.includes(regressors) && namesTargets(data) ? regressors.task : fitting[0]!.task)
  const kind = fitting.find((k) => k.task === wanted)
  if (!kind)
    throw new OptionError(
      'ERR_OPTION',
      `train: ${architecture} is for ${fitting.map((k) => k.task).join(' or ')}; --task must be that, got ${JSON.stringify(task)}`,
    )
  return kind
}

/** The default of an option for every kind: "0.05; language: 0.003". */
export function defaultsText(name: keyof SettingDefaults): string {
  const text = (kind: Kind): string => String(kind.defaults[name] ?? 'none')
  const [first, ...rest] = kinds
  const others = rest.filter((k) => text(k) !== text(first!)).map((k) => `; ${k.task}: ${text(k)}`)
  return text(first!) + others.join('')
}
