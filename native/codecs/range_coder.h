// Binary range coder with carry propagation (Martin 1979; the carry handling of Schindler's and LZMA's coders): a bit whose probability
// of being 1 is p / 65536, 1 <= p <= 65535, costs its information plus less than 2^-24 of a bit. Plain integers: the same on every machine.
// The code ends with as few bytes as identify the last interval; the decoder reads zeros behind them.
#pragma once
#include <cstdint>

namespace tersor {

class RangeEncoder {
 public:
  // Bytes that do not fit in `capacity` are counted, not written: full() tells.
  RangeEncoder(uint8_t* out, int64_t capacity) : out_(out), capacity_(capacity) {}

  void code(int bit, uint32_t p) {
    const uint32_t bound = static_cast<uint32_t>(static_cast<uint64_t>(range_) * p >> 16);
    if (bit) {
      range_ = bound;
    } else {
      low_ += bound;
      range_ -= bound;
    }
    while (range_ < kTop) {
      range_ <<= 8;
      shift();
    }
  }

  // Length of the code.
  int64_t finish() {
    // The value with the most trailing zeros in [low, low + range).
    uint64_t mask = 0xFFFFFFFFu;
    while (((low_ + range_ - 1) & ~mask) < low_) mask >>= 1;
    low_ = (low_ + range_ - 1) & ~mask;
    for (int i = 0; i < 5; i++) shift();
    while (size_ > 0 && size_ <= capacity_ && out_[size_ - 1] == 0) size_--;
    return size_;
  }

  bool full() const { return size_ > capacity_; }

 private:
  static constexpr uint32_t kTop = 1u << 24;

  void put(uint8_t byte) {
    if (size_ < capacity_) out_[size_] = byte;
    size_++;
  }

  // Moves the top byte of low out; bytes 0xFF wait until it is known whether a carry runs through them.
  void shift() {
    if (low_ < 0xFF000000u || low_ > 0xFFFFFFFFu) {
      const uint8_t carry = static_cast<uint8_t>(low_ >> 32);
      if (started_) put(static_cast<uint8_t>(cache_ + carry));  // the very first byte is always 0 and is left out
      started_ = true;
      for (; waiting_ > 0; waiting_--) put(static_cast<uint8_t>(0xFF + carry));
      cache_ = static_cast<uint8_t>(low_ >> 24);
    } else {
      waiting_++;
    }
    low_ = (low_ & 0x00FFFFFFu) << 8;
  }

  uint8_t* out_;
  int64_t capacity_, size_ = 0, waiting_ = 0;
  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  uint8_t cache_ = 0;
  bool started_ = false;
};

class RangeDecoder {
 public:
  RangeDecoder(const uint8_t* in, int64_t size) : in_(in), size_(size) {
    for (int i = 0; i < 4; i++) code_ = code_ << 8 | next();
  }

  int code(uint32_t p) {
    const uint32_t bound = static_cast<uint32_t>(static_cast<uint64_t>(range_) * p >> 16);
    int bit;
    if (code_ < bound) {
      range_ = bound;
      bit = 1;
    } else {
      code_ -= bound;
      range_ -= bound;
      bit = 0;
    }
    while (range_ < kTop) {
      range_ <<= 8;
      code_ = code_ << 8 | next();
    }
    return bit;
  }

  int64_t consumed() const { return at_; }  // may lie behind the end: zeros were read there

 private:
  static constexpr uint32_t kTop = 1u << 24;

  uint8_t next() {
    const uint8_t byte = at_ < size_ ? in_[at_] : 0;
    at_++;
    return byte;
  }

  const uint8_t* in_;
  int64_t size_, at_ = 0;
  uint32_t range_ = 0xFFFFFFFFu, code_ = 0;
};

}  // namespace tersor
