/** Matches an error by its stable code: expect(f).toThrowError(code('ERR_SHAPE')). */
import { expect } from 'vitest'
import type { ErrorCode } from '../../ts/base/codes.gen.js'

export const code = (expected: ErrorCode): unknown => expect.objectContaining({ code: expected })
