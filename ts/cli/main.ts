#!/usr/bin/env node
/** The `tersor` command. Node >= 22.1 keeps its compiled code between runs, of what is loaded after the switch. */
import * as nodeModule from 'node:module'

;(nodeModule as { enableCompileCache?: () => unknown }).enableCompileCache?.()
void import('./program.js').then(({ runCli }) => runCli(process.argv.slice(2)))
