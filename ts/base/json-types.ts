/** JSON values: what recipes, configurations, reports and file headers consist of. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}
