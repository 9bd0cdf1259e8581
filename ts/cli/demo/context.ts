/** What both halves of the demo share. */
import type { FetchProgress } from '../../data/index.js'
import { formatBytes } from '../../report/format.js'
import type { Progress, Ui } from '../ui.js'
import type { StepStore } from './store.js'

export interface DemoContext {
  readonly ui: Ui
  readonly store: StepStore
  /** Smaller data and fewer epochs: for tests of the command, not for figures. */
  readonly quick: boolean
}

/** Shows a download; the total is known once the registry has answered. */
export function downloadView(ui: Ui, label: string): { readonly onProgress: (p: FetchProgress) => void; readonly end: () => void } {
  let bar: Progress | undefined
  return {
    onProgress: (p) => {
      bar ??= ui.progress(`${label} (${formatBytes(p.total)})`, Math.max(1, p.total))
      bar.update(Math.min(p.bytes, p.total), p.phase)
    },
    end: () => bar?.end(),
  }
}
