/**
 * How the bench talks to a contender that is a program of its own: one JSON object per line, a request on stdin, its reply on stdout.
 *   {"id":1,"op":"hello"}                                       -> {"id":1,"name","version","isa"}
 *   {"id":2,"op":"prepare","slot","kernel","threads","isa","params"} -> {"id":2,"ok":true,"check"?,"work"?,"peak"?,"tensors"?} or {"id":2,"unsupported":"why"}
 *   {"id":3,"op":"sample","slot","ms":4}                        -> {"id":3,"ns":1234.5}   calls for about ms milliseconds, ns per call
 *   {"id":4,"op":"release"}                                     -> {"id":4,"ok":true}     frees what was prepared, in all slots
 * Any reply may be {"id","error":"why"}. A slot holds one prepared job. C++: rivals/native/contender.h; Python: rivals/python/contender.py;
 * Node: lib/serve.ts.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { settled } from './settle.js'

export interface Hello {
  readonly name: string
  readonly version: string
  /** The instruction set that it says it uses. */
  readonly isa: string
}

/** What a contender is asked to time. */
export interface Job {
  readonly kernel: string
  readonly threads: number
  /** Cap of this run; '' = none. */
  readonly isa: string
  readonly params: Readonly<Record<string, number | string>>
}

export interface PrepareReply {
  readonly unsupported?: string
  readonly check?: number
  readonly work?: number
  readonly peak?: number
  readonly tensors?: number
}

export interface Command {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

type Reply = Record<string, unknown> & { id: number; error?: string }

/** Milliseconds without a reply after which a contender counts as hung. */
const PATIENCE = 120_000

export class ChildContender {
  private readonly child: ChildProcessWithoutNullStreams
  private readonly waiting = new Map<number, { resolve: (r: Reply) => void; reject: (e: Error) => void; timer: NodeJS.Timeout }>()
  private nextId = 1
  private complaint = ''
  private ended: Error | undefined

  constructor(readonly what: Command) {
    // A process group of its own: Ctrl-C must not end it in the middle of a sample. It ends with its stdin, whatever becomes of the harness.
    this.child = spawn(what.command, what.args, { env: { ...process.env, ...what.env }, stdio: 'pipe', detached: true })
    this.child.on('error', (error) => this.end(error))
    this.child.on('close', (code, signal) => this.end(new Error(`ended with ${signal ?? `exit code ${code}`}: ${this.complaint.trim()}`)))
    this.child.stdin.on('error', () => undefined) // reported by close
    this.child.stderr.on('data', (part: Buffer) => (this.complaint = (this.complaint + part.toString()).slice(-2000)))
    createInterface({ input: this.child.stdout }).on('line', (line) => this.receive(line))
  }

  hello(): Promise<Hello> {
    return this.ask({ op: 'hello' }) as unknown as Promise<Hello>
  }
  prepare(slot: number, job: Job): Promise<PrepareReply> {
    return this.ask({ op: 'prepare', slot, ...job }) as Promise<PrepareReply & Reply>
  }
  async sample(slot: number, ms: number): Promise<number> {
    const { ns } = await this.ask({ op: 'sample', slot, ms })
    if (typeof ns !== 'number' || !(ns > 0)) throw new Error(`a sample must be a positive number of ns, got ${String(ns)}`)
    return ns
  }
  /** Resolves when its threads sleep. */
  async settled(): Promise<void> {
    if (this.child.pid !== undefined) await settled(this.child.pid)
  }
  async release(): Promise<void> {
    if (!this.ended) await this.ask({ op: 'release' })
  }
  /** Ends the process; safe to call twice. */
  close(): void {
    this.child.stdin.end()
    if (this.child.exitCode === null) this.child.kill()
  }

  private ask(request: Record<string, unknown>): Promise<Reply> {
    if (this.ended) return Promise.reject(this.ended)
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.end(new Error(`no reply to ${String(request.op)} within ${PATIENCE / 1000} s`))
        this.child.kill('SIGKILL')
      }, PATIENCE)
      this.waiting.set(id, { resolve, reject, timer })
      this.child.stdin.write(`${JSON.stringify({ id, ...request })}\n`)
    })
  }

  private receive(line: string): void {
    let reply: Reply
    try {
      reply = JSON.parse(line) as Reply
    } catch {
      this.complaint += `${line}\n` // a library that prints: not an answer
      return
    }
    const asked = this.waiting.get(reply.id)
    if (!asked) return
    this.waiting.delete(reply.id)
    clearTimeout(asked.timer)
    if (reply.error === undefined) asked.resolve(reply)
    else asked.reject(new Error(reply.error))
  }

  private end(error: Error): void {
    this.ended ??= error
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer)
      reject(this.ended)
    }
    this.waiting.clear()
  }
}
