/**
 * Whole blocks go: residual blocks of convolutional nets and layers of transformers, which are x + f(x), so that without them x goes on as it is. Others keep
 * their names. By a list, by how little the loss on data grows without each of them, or the last ones (Sajjad et al. 2020, arXiv 2004.03844, section 3: the top
 * layers of BERT are needed least).
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import { suggestion } from '../../base/nearest.js'
import { identity, join, Model, moduleKind, type Module } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import { definePass, type PassContext } from '../pass.js'
import { lossBatches } from './structured/losses.js'

const NAME = 'prune/layers'

const options = z
  .strictObject({
    /** Paths of blocks to leave out. */
    drop: z.array(z.string()).min(1).max(10_000).optional(),
    /** Or how many, chosen by `choose`. */
    count: z.int().positive().max(10_000).optional(),
    /** 'loss': those without which the loss grows least; 'last': those nearest to the output; 'random': a control. */
    choose: z.enum(['loss', 'last', 'random']).default('loss'),
    samples: z.int().positive().max(1e9).default(256),
    batchSize: z.int().positive().max(65_536).default(32),
  })
  .refine((o) => (o.drop === undefined) !== (o.count === undefined), { message: 'give either drop or count', path: ['drop'] })
type Options = z.output<typeof options>

/** Paths of blocks that may be left out, in the order of the model; blocks inside blocks are not counted. */
export function skippableBlocks(model: Model): string[] {
  const out: string[] = []
  const visit = (module: Module, path: string): void => {
    if (path !== '' && moduleKind(module.kind).skippable?.(module.config)) out.push(path)
    else for (const [name, child] of Object.entries(module.children)) visit(child, join(path, name))
  }
  visit(model.root, '')
  return out
}

/** The model with an identity in place of each block. Shares everything else. */
export function withoutBlocks(model: Model, paths: ReadonlySet<string>): Model {
  const { kind, config } = identity({})
  const walk = (module: Module, path: string): Module => {
    if (paths.has(path)) return { kind, config, weights: {}, state: {}, children: {} }
    const children = Object.fromEntries(Object.entries(module.children).map(([name, child]) => [name, walk(child, join(path, name))]))
    return Object.entries(children).some(([name, child]) => child !== module.children[name]) ? { ...module, children } : module
  }
  return new Model(walk(model.root, ''), model.info, model.extras)
}

function check(model: Model, o: Options): string[] {
  const blocks = skippableBlocks(model)
  for (const path of o.drop ?? [])
    if (!blocks.includes(path))
      throw new OptionError(
        'ERR_OPTION',
        `${NAME}: ${JSON.stringify(path)} cannot be left out: it is no block x + f(x)${suggestion(path, blocks)}`.replaceAll('"', ''),
        {
          details: { pointer: '/drop' },
        },
      )
  if (o.count !== undefined && o.count >= blocks.length)
    throw new OptionError(
      'ERR_OPTION',
      `${NAME}: ${model.info.name} has ${blocks.length} blocks that may go, one has to stay; count is ${o.count}`,
      {
        details: { pointer: '/count' },
      },
    )
  return blocks
}

/** Mean loss without each block. */
async function lossesWithout(model: Model, blocks: readonly string[], context: PassContext<Options>): Promise<Record<string, number>> {
  const without = blocks.map((path) => withoutBlocks(model, new Set([path])))
  const sums = blocks.map(() => 0)
  const batches = lossBatches(NAME, model, context)
  await batches.each((loss) => {
    without.forEach((m, i) => (sums[i] = sums[i]! + scope(() => loss(m).item())))
  })
  return Object.fromEntries(blocks.map((path, i) => [path, sums[i]! / batches.batches]))
}

export const layers = definePass({
  name: NAME,
  version: 1,
  summary: 'leaves whole residual blocks or transformer layers out',
  options,
  changesShapes: true,
  needs: (o) => ({ calibration: o.count !== undefined && o.choose === 'loss' }),
  roles: ['matrix', 'kernel'],
  plan: (model, o) => ({ blocks: check(model, o), drop: o.drop?.length ?? o.count ?? 0 }),
  apply: async (model, context) => {
    const { options: o, rng, figure, progress } = context
    const blocks = check(model, o)
    const least = async (): Promise<string[]> => {
      const losses = await lossesWithout(model, blocks, context)
      figure('losses', losses)
      return [...blocks].sort((a, b) => losses[a]! - losses[b]! || blocks.indexOf(a) - blocks.indexOf(b))
    }
    const random = (): string[] => {
      const order = rng('blocks')
      const keys = new Map(blocks.map((path) => [path, order.uniform()]))
      return [...blocks].sort((a, b) => keys.get(a)! - keys.get(b)!)
    }
    const ways = { loss: least, last: () => [...blocks].reverse(), random }
    const chosen = o.drop ?? (await ways[o.choose]()).slice(0, o.count)
    const small = withoutBlocks(model, new Set(chosen))
    figure(
      'dropped',
      blocks.filter((path) => chosen.includes(path)),
    )
    figure('parameters', { before: model.parameters(), after: small.parameters() })
    progress(NAME, 1, 1)
    return small
  },
})
