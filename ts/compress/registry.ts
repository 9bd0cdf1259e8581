/** Every pass: those of the package (families.ts) and those that a program defined. */
import { RecipeError } from '../base/errors.js'
import { suggestion } from '../base/nearest.js'
import * as families from './families.js'
import { definedPasses, type AnyPass } from './pass.js'

// Used, so that a bundler cannot drop the modules that define them.
const own = Object.values(families).flatMap((family) => Object.values<{ readonly definition: { readonly name: string } }>(family))

/** Definitions by name. */
export function passDefinitions(): ReadonlyMap<string, AnyPass> {
  const all = new Map(own.map(({ definition }) => [definition.name, definition as unknown as AnyPass]))
  for (const [name, definition] of definedPasses()) all.set(name, definition)
  return all
}

/** The pass of that name; ERR_RECIPE with the nearest known name. */
export function passDefinition(name: string, pointer = ''): AnyPass {
  const all = passDefinitions()
  const found = all.get(name)
  if (found) return found
  throw new RecipeError(
    'ERR_RECIPE',
    `recipe${pointer && ` ${pointer}`}: unknown pass ${JSON.stringify(name.slice(0, 100))}${suggestion(name, [...all.keys()])}`,
    {
      details: { pointer },
    },
  )
}
