// Generated from native/cpu/isa.def by tools/gen.ts. Do not edit.
/** Caps that TERSOR_ISA takes, weakest first. */
export const isaLevels = ['scalar', 'avx2', 'avxvnni', 'avx512', 'avx512vnni', 'avx512bf16', 'amx', 'neon', 'neondot', 'neoni8mm'] as const
export type IsaLevel = (typeof isaLevels)[number]
