#include "config/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>

namespace phalanx {
namespace {

// Sixteen bytes in network order; IPv4 as ::ffff:a.b.c.d.
using AddressBytes = std::array<unsigned char, 16>;

constexpr AddressBytes kIpv4Start = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr size_t kIpv4Offset = 12;

std::optional<AddressBytes> Parse(const std::string& text) {
  constexpr size_t kMaxIpv4Text = 32;
  // The system's parser stops at a zero byte.
  if (text.find('\0') != std::string::npos) return std::nullopt;
  AddressBytes bytes = kIpv4Start;
  if (text.find(':') != std::string::npos) {
    if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return std::nullopt;
  } else if (text.size() > kMaxIpv4Text ||
             inet_pton(AF_INET, text.c_str(), bytes.data() + kIpv4Offset) != 1) {
    return std::nullopt;
  }
  return bytes;
}

bool IsIpv4(const AddressBytes& bytes) {
  return std::equal(bytes.begin(), bytes.begin() + kIpv4Offset, kIpv4Start.begin());
}

}  // namespace

bool IsIpAddress(const std::string& text) {
  return Parse(text).has_value();
}

bool IsAllZeroAddress(const std::string& text) {
  const std::optional<AddressBytes> bytes = Parse(text);
  if (!bytes) return false;
  const auto first = bytes->begin() + (IsIpv4(*bytes) ? kIpv4Offset : 0);
  return std::all_of(first, bytes->end(), [](unsigned char byte) { return byte == 0; });
}

bool IsLoopbackAddress(const std::string& text) {
  const std::optional<AddressBytes> bytes = Parse(text);
  if (!bytes) return false;
  if (IsIpv4(*bytes)) return (*bytes)[kIpv4Offset] == 127;
  constexpr AddressBytes kIpv6Loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return *bytes == kIpv6Loopback;
}

}  // namespace phalanx
