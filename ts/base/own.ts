/** Tables by names that files choose: `__proto__`, `constructor` and their kin are names like any other. */

/** A table without a prototype: no name is taken. */
export const emptyTable = <T>(): Record<string, T> => Object.create(null) as Record<string, T>

/** What a table has under a name itself, not what every object inherits. */
export const ownValue = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined
