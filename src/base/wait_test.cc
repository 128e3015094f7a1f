#include "base/wait.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <thread>
#include <vector>

#include "base/shared_memory.h"

namespace phalanx {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(WaitWordTest, ReturnsAtOnceWhenTheValueDiffers) {
  WaitWord word;
  word.Store(7);
  EXPECT_EQ(word.WaitWhile(6), 7u);
}

TEST(WaitWordTest, GivesTheSeenValueWhenTheDeadlinePasses) {
  WaitWord word;
  const auto start = steady_clock::now();
  EXPECT_EQ(word.WaitWhile(0, start + milliseconds(20)), 0u);
  EXPECT_GE(steady_clock::now() - start, milliseconds(20));
}

TEST(WaitWordTest, ADeadlineInThePastOnlyAsks) {
  WaitWord word;
  EXPECT_EQ(word.WaitWhile(0, steady_clock::now() - milliseconds(1)), 0u);
}

TEST(WaitWordTest, WakesEverySleeper) {
  WaitWord word;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&word] { EXPECT_EQ(word.WaitWhile(0), 1u); });
  }
  std::this_thread::sleep_for(milliseconds(10));
  word.Add(1);
  for (std::thread& thread : threads) thread.join();
}

TEST(WaitWordTest, NoHandOverIsLostBetweenTwoThreads) {
  for (const WaitPolicy& policy : {WaitPolicy{}, WaitPolicy{0, std::chrono::microseconds(0)}}) {
    constexpr uint32_t kRounds = 5000;
    WaitWord there, back;
    std::thread other([&] {
      for (uint32_t round = 0; round < kRounds; ++round) {
        there.WaitWhile(round, SteadyTime::max(), policy);
        back.Store(round + 1);
      }
    });
    for (uint32_t round = 0; round < kRounds; ++round) {
      there.Store(round + 1);
      ASSERT_EQ(back.WaitWhile(round, SteadyTime::max(), policy), round + 1);
    }
    other.join();
  }
}

TEST(WaitWordTest, WorksBetweenProcesses) {
  const Result<SharedMemory> memory = SharedMemory::Create("wait-test", 4096);
  ASSERT_TRUE(memory.ok());
  const Result<SharedMapping> mapping = SharedMapping::Map(*memory, 0, 4096, true);
  ASSERT_TRUE(mapping.ok());
  auto* const words = reinterpret_cast<WaitWord*>(mapping->data());
  const pid_t child = ::fork();
  if (child == 0) {
    for (uint32_t round = 0; round < 1000; ++round) {
      words[0].WaitWhile(round);
      words[1].Store(round + 1);
    }
    ::_exit(0);
  }
  for (uint32_t round = 0; round < 1000; ++round) {
    words[0].Store(round + 1);
    ASSERT_EQ(words[1].WaitWhile(round, steady_clock::now() + std::chrono::seconds(20)), round + 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace phalanx
