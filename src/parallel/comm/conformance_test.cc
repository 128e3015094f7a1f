// Every transport, as threads and (where it can) as processes, against the contract in communicator.h.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "parallel/comm/faulty/faulty_communicator.h"
#include "parallel/comm/local/local_group.h"
#include "parallel/comm/shm/shm_communicator.h"
#include "parallel/comm/transport_table.h"
#include "testing/run_ranks.h"

namespace phalanx {
namespace {

using RankFunction = std::function<bool(int rank, Communicator& communicator)>;

// A mapping that forked processes share.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(std::max<size_t>(bytes, 64)) {
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
  }
  ~SharedMemory() { munmap(memory_, bytes_); }
  std::span<std::byte> span() const { return {static_cast<std::byte*>(memory_), bytes_}; }

 private:
  void* memory_;
  size_t bytes_;
};

bool RunThreads(const Transport& transport, int n, const RankFunction& fn) {
  SharedMemory memory(transport.group_bytes(n));
  transport.init_group(memory.span(), n);
  std::vector<std::thread> threads;
  std::vector<char> good(static_cast<size_t>(n), 0);
  for (int rank = 0; rank < n; ++rank) {
    threads.emplace_back([&, rank] {
      auto communicator = transport.join(memory.span(), rank, {.check_operations = true});
      good[static_cast<size_t>(rank)] = communicator.ok() && fn(rank, **communicator);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return std::count(good.begin(), good.end(), 1) == n;
}

bool RunProcesses(const Transport& transport, int n, const RankFunction& fn) {
  SharedMemory memory(transport.group_bytes(n));
  transport.init_group(memory.span(), n);
  std::vector<pid_t> children;
  for (int rank = 0; rank < n; ++rank) {
    pid_t child = fork();
    if (child == 0) {
      auto communicator = transport.join(memory.span(), rank, {.check_operations = true});
      _exit(communicator.ok() && fn(rank, **communicator) ? 0 : 1);
    }
    children.push_back(child);
  }
  bool good = true;
  for (pid_t child : children) {
    int state = 0;
    good &= waitpid(child, &state, 0) == child && WIFEXITED(state) && WEXITSTATUS(state) == 0;
  }
  return good;
}

bool RunLocal(const Transport&, int n, const RankFunction& fn) {
  std::vector<char> good(static_cast<size_t>(n), 0);
  RunRanks(
      n,
      [&](int rank, Communicator& communicator) { good[static_cast<size_t>(rank)] = fn(rank, communicator); },
      {.check_operations = true});
  return std::count(good.begin(), good.end(), 1) == n;
}

struct Way {
  std::string name;
  const Transport* transport;
  bool (*run)(const Transport&, int n, const RankFunction& fn);
};

std::vector<Way> Ways() {
  std::vector<Way> ways;
  for (const Transport& transport : Transports()) {
    ways.push_back({std::string(transport.name) + "_threads", &transport, RunThreads});
    ways.push_back({std::string(transport.name) + "_processes", &transport, RunProcesses});
  }
  ways.push_back({"local", &Transports().back(), RunLocal});
  return ways;
}

class ConformanceTest : public testing::TestWithParam<Way> {
 protected:
  void Expect(const std::vector<int>& sizes, const RankFunction& fn) {
    for (int n : sizes) {
      if (n > GetParam().transport->max_size) continue;
      EXPECT_TRUE(GetParam().run(*GetParam().transport, n, fn)) << n << " ranks";
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Transports, ConformanceTest, testing::ValuesIn(Ways()),
                         [](const auto& way) { return way.param.name; });

// Values whose sum depends on the order of addition.
float Value(int rank, int64_t i, int round) {
  uint32_t bits = static_cast<uint32_t>(i) * 2654435761u + static_cast<uint32_t>(rank) * 40503u +
                  static_cast<uint32_t>(round) * 9176u;
  bits ^= bits >> 15;
  return static_cast<float>(static_cast<int32_t>(bits % 20011) - 10005) * (rank % 2 ? 1e-3f : 7.7f);
}

float TreeValue(int first, int n, int64_t i, int round) {
  if (n == 1) return Value(first, i, round);
  return TreeValue(first, n / 2, i, round) + TreeValue(first + n / 2, n / 2, i, round);
}

TEST_P(ConformanceTest, KnowsItsPlace) {
  for (int n : {1, 2, 4}) {
    Expect({n}, [n](int rank, Communicator& c) { return c.size() == n && c.group_rank() == rank; });
  }
}

TEST_P(ConformanceTest, AllReduceAddsAsATree) {
  for (int64_t floats : {0, 1, 3, 576, 4096, 5000, 32768, 70001}) {
    Expect({1, 2, 4, 8}, [floats](int rank, Communicator& c) {
      std::vector<float> data(static_cast<size_t>(floats));
      for (int round = 0; round < 3; ++round) {
        for (int64_t i = 0; i < floats; ++i) data[static_cast<size_t>(i)] = Value(rank, i, round);
        if (!c.AllReduce(data).ok()) return false;
        for (int64_t i = 0; i < floats; ++i) {
          if (data[static_cast<size_t>(i)] != TreeValue(0, c.size(), i, round)) return false;
        }
      }
      return true;
    });
  }
}

TEST_P(ConformanceTest, AllGatherKeepsGroupOrder) {
  Expect({1, 2, 3, 5, 8}, [](int rank, Communicator& c) {
    for (int round = 0; round < 6; ++round) {
      std::vector<int64_t> counts;
      for (int r = 0; r < c.size(); ++r)
        counts.push_back((r + round) % 3 == 0 ? 0 : (r * 30011 + round * 7001) % 80000);
      std::vector<float> mine, want;
      for (int r = 0; r < c.size(); ++r) {
        for (int64_t i = 0; i < counts[static_cast<size_t>(r)]; ++i) {
          want.push_back(Value(r, i, round));
          if (r == rank) mine.push_back(want.back());
        }
      }
      std::vector<float> out(want.size());
      if (!c.AllGatherV(mine, out, counts).ok() || out != want) return false;
    }
    return true;
  });
}

// No rank leaves before the last has come.
TEST_P(ConformanceTest, BarrierHolds) {
  SharedMemory memory(4096);
  auto* entered = new (memory.span().data()) std::atomic<int>(0);
  Expect({1, 2, 4, 8}, [entered](int rank, Communicator& c) {
    if (!c.Barrier().ok()) return false;
    if (rank == 0) entered->store(0);
    for (int round = 1; round <= 50; ++round) {
      if (!c.Barrier().ok()) return false;
      entered->fetch_add(1);
      if (!c.Barrier().ok()) return false;
      if (entered->load() != round * c.size()) return false;
    }
    return c.Barrier().ok();
  });
}

// More ranks than cores, many small operations of changing kinds.
TEST_P(ConformanceTest, ManyOperationsOversubscribed) {
  Expect({8}, [](int rank, Communicator& c) {
    std::vector<int64_t> counts = {5, 0, 1, 2, 9, 4, 4, 7};
    std::vector<float> mine(static_cast<size_t>(counts[static_cast<size_t>(rank)]), static_cast<float>(rank));
    std::vector<float> out(32), data(96);
    for (int round = 0; round < 300; ++round) {
      for (int64_t i = 0; i < 96; ++i) data[static_cast<size_t>(i)] = Value(rank, i, round);
      if (!c.AllReduce(data).ok() || data[95] != TreeValue(0, 8, 95, round)) return false;
      if (!c.AllGatherV(mine, out, counts).ok() || out[4] != 0 || out[5] != 2 || out[31] != 7) return false;
      if (round % 7 == 0 && !c.Barrier().ok()) return false;
    }
    return true;
  });
}

TEST(FaultTest, SilentRankIsNamedByAllOthers) {
  for (int silent = 0; silent < 4; ++silent) {
    for (int healthy : {0, 1, 2}) {
      RunRanks(4,
               [&](int rank, Communicator& inner) {
                 FaultyCommunicator c(&inner, rank == silent ? healthy : 1000, Internal("made to fail"));
                 std::vector<float> data(10, 1.0f);
                 Status status;
                 int rounds = 0;
                 for (; status.ok() && rounds < 10; ++rounds) status = c.AllReduce(data);
                 EXPECT_EQ(rounds, healthy + 1);
                 if (rank == silent) {
                   EXPECT_EQ(status.code(), StatusCode::kInternal);
                   return;
                 }
                 EXPECT_EQ(status.code(), StatusCode::kUnavailable);
                 EXPECT_NE(status.message().find("group rank " + std::to_string(silent) + " of 4"),
                           std::string::npos)
                     << status.message();
                 EXPECT_EQ(inner.Barrier().code(), StatusCode::kUnavailable) << "the group has ended";
               },
               {.timeout = std::chrono::milliseconds(100)});
    }
  }
}

TEST(FaultTest, FenceEndsAWait) {
  size_t bytes = ExchangeBytes(2);
  SharedMemory memory(bytes);
  InitExchange(memory.span(), 2);
  auto communicator = ShmCommunicator::Attach(memory.span(), 1);
  ASSERT_TRUE(communicator.ok());
  std::thread fence([&] {
    usleep(20000);
    FenceExchange(memory.span());
  });
  EXPECT_EQ((*communicator)->Barrier().code(), StatusCode::kUnavailable);
  fence.join();
  EXPECT_EQ((*communicator)->Barrier().code(), StatusCode::kUnavailable);

  EXPECT_EQ(ShmCommunicator::Attach(memory.span(), 1).status().code(), StatusCode::kInvalidArgument);
  InitExchange(memory.span(), 2);
  EXPECT_TRUE(ShmCommunicator::Attach(memory.span(), 1).ok());
}

TEST(FaultTest, DifferentOperationsAreNamed) {
  RunRanks(2,
           [](int rank, Communicator& c) {
             std::vector<float> data(rank == 0 ? 8 : 9);
             Status status = c.AllReduce(data);
             EXPECT_EQ(status.code(), StatusCode::kInternal);
             EXPECT_NE(status.message().find("AllReduce of 8 floats"), std::string::npos) << status.message();
             EXPECT_NE(status.message().find("AllReduce of 9 floats"), std::string::npos) << status.message();
           },
           {.check_operations = true});
  RunRanks(2,
           [](int rank, Communicator& c) {
             std::vector<float> data(8);
             Status status = rank == 0 ? c.AllReduce(data) : c.Barrier();
             EXPECT_EQ(status.code(), StatusCode::kInternal);
             EXPECT_NE(status.message().find("Barrier"), std::string::npos) << status.message();
           },
           {.check_operations = true});
}

TEST(AttachTest, RefusesWhatIsNoExchange) {
  SharedMemory memory(ExchangeBytes(2));
  EXPECT_EQ(ShmCommunicator::Attach(memory.span(), 0).status().code(), StatusCode::kInvalidArgument);
  InitExchange(memory.span(), 2);
  EXPECT_EQ(ShmCommunicator::Attach(memory.span(), 2).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ShmCommunicator::Attach(memory.span(), -1).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ShmCommunicator::Attach(memory.span().first(100), 0).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace phalanx
