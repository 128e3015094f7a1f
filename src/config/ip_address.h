#pragma once

#include <string>

namespace phalanx {

// An address as the system parses it: IPv6 if there is a ':', else IPv4 (at most 32 characters). No names, no ports.
bool IsIpAddress(const std::string& text);

// 0.0.0.0, ::, and every other way to write "all addresses of this machine".
bool IsAllZeroAddress(const std::string& text);

// 127.0.0.0/8 or ::1: reachable from this machine only.
bool IsLoopbackAddress(const std::string& text);

}  // namespace phalanx
