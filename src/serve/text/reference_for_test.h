#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/text/tokenizer.h"

namespace phalanx {

// tests/data/text/reference.json: what Hugging Face's Python libraries say.
inline const nlohmann::ordered_json& Reference() {
  static const nlohmann::ordered_json reference = nlohmann::ordered_json::parse(
      std::ifstream(std::filesystem::path(PHX_SOURCE_DIR) / "tests/data/text/reference.json"));
  return reference;
}

inline std::vector<std::string> ReferenceStrings() {
  return Reference()["strings"].get<std::vector<std::string>>();
}

// A folder under the test's temporary folder, empty at first and removed at the end.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "phx_text_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string Write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// The bytes of a GGUF file that has metadata only.
class GgufBytes {
 public:
  template <class T>
  GgufBytes& Add(const std::string& key, const T& value) {
    Begin(key);
    if constexpr (std::is_same_v<T, bool>) {
      Put<uint32_t>(7);
      Put<uint8_t>(value ? 1 : 0);
    } else if constexpr (std::is_integral_v<T>) {
      Put<uint32_t>(4);
      Put<uint32_t>(static_cast<uint32_t>(value));
    } else {
      Put<uint32_t>(8);
      PutString(value);
    }
    return *this;
  }
  GgufBytes& Add(const std::string& key, const std::vector<std::string>& values) {
    BeginArray(key, 8, values.size());
    for (const std::string& value : values) PutString(value);
    return *this;
  }
  GgufBytes& Add(const std::string& key, const std::vector<int32_t>& values) {
    BeginArray(key, 5, values.size());
    for (int32_t value : values) Put(value);
    return *this;
  }
  GgufBytes& Add(const std::string& key, const std::vector<float>& values) {
    BeginArray(key, 6, values.size());
    for (float value : values) Put(value);
    return *this;
  }

  std::string Finish() const {
    GgufBytes header;
    header.bytes_ = "GGUF";
    header.Put<uint32_t>(3);
    header.Put<uint64_t>(0);
    header.Put<uint64_t>(num_keys_);
    return header.bytes_ + bytes_;
  }

 private:
  template <class T>
  void Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void PutString(const std::string& text) {
    Put<uint64_t>(text.size());
    bytes_ += text;
  }
  void Begin(const std::string& key) {
    PutString(key);
    ++num_keys_;
  }
  void BeginArray(const std::string& key, uint32_t type, size_t size) {
    Begin(key);
    Put<uint32_t>(9);
    Put<uint32_t>(type);
    Put<uint64_t>(size);
  }

  std::string bytes_;
  uint64_t num_keys_ = 0;
};

}  // namespace phalanx
