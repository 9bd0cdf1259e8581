// Lossless code for an int8 matrix that is mostly zeros: pruned and quantized weights on disk.
//
//   byte 0            0xA1: modelled, 0xA0: raw (the modelled code would not be shorter)
//   varint, varint    rows, cols (7 bits a byte, lowest first, top bit = more)
//   4 bytes           CRC-32 of the matrix, little-endian
//   raw:              rows * cols bytes
//   modelled:         1 byte: bits of the largest |q| - 1 (0 .. 7), then the range coder's bytes (range_coder.h)
//
// Elements are coded in row-major order. Each costs a flag (zero or not), predicted from the densities of its column, of its row and of
// the whole matrix so far, from its causal neighbours and from adaptive tables of these, mixed as log odds; a nonzero value adds a sign
// and a binary tree over |q| - 1, predicted from how large values are in general, in this row and in this column. All of the
// arithmetic is integer: the code and its decoding are the same on every machine.
#pragma once
#include "base/status.h"
#include "cpu/threads.h"

namespace tersor {

int64_t sparse_code_bound(int64_t rows, int64_t cols);      // bytes that an encoding never exceeds; rows * cols < 2^62
int64_t sparse_code_workspace(int64_t cols);                // bytes of working memory (8-byte aligned) of either direction
// out has sparse_code_bound bytes; *bytes = how many are used.
Status sparse_code_encode(const int8_t* q, int64_t rows, int64_t cols, void* workspace, const Cancel* cancel, uint8_t* out, int64_t* bytes);
// ERR_MODEL_FORMAT when `code` is not the code of a rows x cols matrix; q is then undefined. Never reads outside code[0, bytes).
Status sparse_code_decode(const uint8_t* code, int64_t bytes, int64_t rows, int64_t cols, void* workspace, const Cancel* cancel, int8_t* q);

}  // namespace tersor
