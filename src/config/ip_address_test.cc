#include "config/ip_address.h"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(IpAddress, TakesAddressesOnly) {
  for (const char* good : {"127.0.0.1", "::1", "fe80::1", "0.0.0.0", "::ffff:1.2.3.4"})
    EXPECT_TRUE(IsIpAddress(good)) << good;
  for (const char* bad :
       {"", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", ":", "127.0.0.1:80"}) {
    EXPECT_FALSE(IsIpAddress(bad)) << bad;
  }
  EXPECT_FALSE(IsIpAddress(std::string("127.0.0.1\0x", 11)));
}

TEST(IpAddress, KnowsAllZeroHoweverWritten) {
  for (const char* all : {"0.0.0.0", "::", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"})
    EXPECT_TRUE(IsAllZeroAddress(all)) << all;
  for (const char* one : {"0.0.0.1", "::1", "127.0.0.1", "", "zero"})
    EXPECT_FALSE(IsAllZeroAddress(one)) << one;
}

TEST(IpAddress, KnowsLoopback) {
  for (const char* near : {"127.0.0.1", "127.9.9.9", "::1", "0::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(IsLoopbackAddress(near)) << near;
  for (const char* far : {"0.0.0.0", "::", "10.0.0.1", "::2", ""})
    EXPECT_FALSE(IsLoopbackAddress(far)) << far;
}

}  // namespace
}  // namespace phalanx
