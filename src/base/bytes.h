#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace phalanx {

// Writes plain values one after the other into memory that it does not own (unaligned, in this machine's byte
// order: both ends are on one machine). What does not fit is dropped and remembered in ok().
class ByteWriter {
 public:
  explicit ByteWriter(std::span<std::byte> out) : out_(out) {}

  template <class T>
  void Put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    PutRaw(&value, sizeof(T));
  }
  // The number of elements, then the elements.
  template <class T>
  void PutVector(const std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    Put(static_cast<uint32_t>(values.size()));
    PutRaw(values.data(), values.size() * sizeof(T));
  }
  void PutRaw(const void* data, size_t size) {
    if (!ok_ || size > out_.size() - size_) {
      ok_ = false;
      return;
    }
    if (size > 0) std::memcpy(out_.data() + size_, data, size);
    size_ += size;
  }

  // Whether everything fitted.
  bool ok() const { return ok_; }
  // Bytes written.
  size_t size() const { return size_; }

 private:
  std::span<std::byte> out_;
  size_t size_ = 0;
  bool ok_ = true;
};

// The way back. Reading past the end gives zeros and clears ok(), once and for all: check at the end, or
// where a count decides about memory (GetCount does).
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> in) : in_(in) {}

  template <class T>
  T Get() {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    T value{};
    GetRaw(&value, sizeof(T));
    return value;
  }
  // A count of things that take at least `min_bytes` each: 0 and not ok() if the rest cannot hold so many.
  uint32_t GetCount(size_t min_bytes) {
    const uint32_t count = Get<uint32_t>();
    if (count > remaining() / min_bytes) {
      ok_ = false;
      return 0;
    }
    return count;
  }
  template <class T>
  void GetVector(std::vector<T>* values) {
    static_assert(std::is_trivially_copyable_v<T>);
    values->resize(GetCount(sizeof(T)));
    GetRaw(values->data(), values->size() * sizeof(T));
  }
  void GetRaw(void* data, size_t size) {
    if (!ok_ || size > remaining()) {
      ok_ = false;
      if (size > 0) std::memset(data, 0, size);
      return;
    }
    if (size > 0) std::memcpy(data, in_.data() + position_, size);
    position_ += size;
  }
  void Fail() { ok_ = false; }

  bool ok() const { return ok_; }
  size_t remaining() const { return ok_ ? in_.size() - position_ : 0; }

 private:
  std::span<const std::byte> in_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace phalanx
