#pragma once

#include <cstddef>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace phalanx {

// 64-byte aligned memory that grows on demand and never shrinks, so that steady state allocates nothing. Contents are
// lost when it grows. One owner, one thread at a time.
template <class T>
class ScratchBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  ScratchBuffer() = default;
  ~ScratchBuffer() { std::free(data_); }
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  ScratchBuffer(ScratchBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}

  // Room for `count` elements, uninitialised after growth.
  T* Reserve(size_t count) {
    if (count > capacity_) {
      std::free(data_);
      const size_t bytes = (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
      data_ = static_cast<T*>(std::aligned_alloc(kAlignment, bytes));
      CHECK(data_ != nullptr);
      capacity_ = count;
    }
    return data_;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }

 private:
  static constexpr size_t kAlignment = 64;

  T* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace phalanx
