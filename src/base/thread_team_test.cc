#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "base/topology.h"

namespace phalanx {
namespace {

TEST(ThreadTeamTest, EveryThreadRunsOncePerRound) {
  for (const int size : {1, 2, 3, 16}) {
    ThreadTeam team(std::vector<int>(static_cast<size_t>(size), -1));
    ASSERT_EQ(team.size(), size);
    std::vector<int> calls(static_cast<size_t>(size));
    for (int round = 0; round < 500; ++round) {
      team.Run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
    }
    for (const int count : calls) EXPECT_EQ(count, 500);
  }
}

TEST(ThreadTeamTest, ParallelForCoversTheRangeOnceInMultiplesOfTheGrain) {
  ThreadTeam team(std::vector<int>(3, -1));
  for (const long n : {0L, 1L, 15L, 16L, 17L, 100L, 1024L}) {
    for (const long grain : {1L, 16L, 64L}) {
      std::vector<int> seen(static_cast<size_t>(n));
      team.ParallelFor(n, grain, [&](long begin, long end, int thread) {
        EXPECT_EQ(begin % grain, 0);
        EXPECT_TRUE(end % grain == 0 || end == n);
        EXPECT_LT(thread, 3);
        for (long i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0L), n);
      for (const int count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadTeamTest, SleepsBetweenRounds) {
  ThreadTeam team(std::vector<int>(4, -1));
  team.Run([](int) {});
  timespec before{}, after{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  const timespec pause{0, 100'000'000};
  ::nanosleep(&pause, nullptr);
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  const double used = static_cast<double>(after.tv_sec - before.tv_sec) +
                      static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-9;
  EXPECT_LT(used, 0.02);
  team.Run([](int) {});
}

TEST(ThreadTeamTest, PinsItsThreads) {
  const std::vector<int> allowed = AffinityOfThisThread();
  ASSERT_FALSE(allowed.empty());
  std::thread([&] {
    const std::vector<int> cpus = {allowed.front(), allowed.back(), allowed.front()};
    ThreadTeam team(cpus);
    team.Run([&](int thread) {
      EXPECT_EQ(AffinityOfThisThread(), std::vector<int>{cpus[static_cast<size_t>(thread)]});
    });
  }).join();
}

}  // namespace
}  // namespace phalanx
