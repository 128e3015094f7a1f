#include "serve/engine/process_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "base/file.h"
#include "serve/engine/engine.h"

// Real worker processes. What they compute is tests/golden's and tests/layouts' matter; here they start,
// serve, fail and end.
namespace phalanx {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

constexpr char kTinyModel[] = PHX_SOURCE_DIR "/tests/golden/data/llama-f32/model";

ProcessExecutorOptions TinyOptions(int32_t dp, int32_t tp) {
  ProcessExecutorOptions options;
  options.worker_program = PHX_BINARY_DIR "/mindie-service/bin/phalanx-worker";
  options.model_path = kTinyModel;
  options.dp = dp;
  options.tp = tp;
  options.block_size = 16;
  options.kv_bytes_per_rank = int64_t{8} << 20;
  options.max_batch_size = 16;
  options.max_seq_len = 200;
  options.threads_per_rank = 1;
  options.log_level = "error";
  options.start_timeout = seconds(120);
  return options;
}

std::unique_ptr<ProcessExecutor> MustStart(const ProcessExecutorOptions& options) {
  Result<std::unique_ptr<ProcessExecutor>> executor = ProcessExecutor::Start(options);
  EXPECT_TRUE(executor.ok()) << executor.status().ToString();
  return executor.ok() ? *std::move(executor) : nullptr;
}

struct Answer {
  Status status;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

// Requests under way and what came of them. Any thread.
class Answers {
 public:
  void Submit(Engine* engine, std::vector<int32_t> prompt, int32_t max_tokens,
              std::optional<int32_t> group = {}) {
    Request request;
    request.prompt_token_ids = std::move(prompt);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0;
    request.sampling.num_logprobs = 0;
    request.data_parallel_rank = group;
    const size_t index = num_submitted_++;
    const auto id =
        engine->Submit(request, [this, index](const RequestOutput& output) { Take(index, output); });
    if (id.ok()) return;
    const std::lock_guard lock(mutex_);
    answers_[index].status = id.status();
    ++num_finished_;
  }
  bool WaitFinished(seconds timeout = seconds(60)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return num_finished_ == num_submitted_; });
  }
  bool WaitTokens(size_t count, seconds timeout = seconds(60)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [&] { return num_tokens_ >= count; });
  }
  Answer operator[](size_t index) {
    const std::lock_guard lock(mutex_);
    return answers_[index];
  }

 private:
  void Take(size_t index, const RequestOutput& output) {
    const std::lock_guard lock(mutex_);
    Answer& answer = answers_[index];
    for (const SequenceOutput& sequence : output.sequences) {
      answer.tokens.insert(answer.tokens.end(), sequence.token_ids.begin(), sequence.token_ids.end());
      for (const TokenLogprobs& logprobs : sequence.logprobs) answer.logprobs.push_back(logprobs.logprob);
      num_tokens_ += sequence.token_ids.size();
    }
    if (output.finished) {
      answer.status = output.status;
      ++num_finished_;
    }
    changed_.notify_all();
  }

  size_t num_submitted_ = 0;  // the submitting thread's
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<size_t, Answer> answers_;
  size_t num_finished_ = 0, num_tokens_ = 0;
};

EngineOptions SmallEngine() {
  EngineOptions options;
  options.max_seq_len = 200;
  options.max_input_tokens = 150;
  return options;
}

bool WaitUntil(const std::function<bool()>& done) {
  for (int i = 0; i < 10000 && !done(); ++i) std::this_thread::sleep_for(milliseconds(1));
  return done();
}

bool Exists(pid_t pid) {
  return std::filesystem::exists("/proc/" + std::to_string(pid));
}

// User and system time of a process so far, in clock ticks.
int64_t CpuTicks(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string ignored;
  for (int i = 0; i < 11; ++i) fields >> ignored;
  int64_t user = 0, system = 0;
  fields >> user >> system;
  return user + system;
}

// Memory of ours that this process maps or holds open.
int NumSharedSegments() {
  int count = 0;
  const Result<std::string> maps = ReadFile("/proc/self/maps", size_t{64} << 20);
  if (!maps.ok()) return -1;
  for (size_t at = maps->find("memfd:phalanx"); at != std::string::npos;
       at = maps->find("memfd:phalanx", at + 1))
    ++count;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (!error && target.string().find("memfd:phalanx") != std::string::npos) ++count;
  }
  return count;
}

void ServesSomeRequests(const ProcessExecutorOptions& options, const EngineOptions& engine_options) {
  const auto executor = MustStart(options);
  ASSERT_NE(executor, nullptr);
  EXPECT_EQ(executor->facts().num_groups, options.dp);
  EXPECT_EQ(executor->facts().num_blocks, executor->facts().blocks_per_group * options.dp);
  EXPECT_EQ(executor->report().ranks.size(), static_cast<size_t>(options.dp * options.tp));
  Answers answers;
  Engine engine(engine_options, executor.get());
  engine.Start();
  for (int32_t i = 0; i < 4; ++i) answers.Submit(&engine, {1, 20, 300, 4}, 8, i % options.dp);
  ASSERT_TRUE(answers.WaitFinished());
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(answers[i].status.ok()) << answers[i].status.ToString();
    EXPECT_FALSE(answers[i].tokens.empty());
    EXPECT_EQ(answers[i].tokens, answers[0].tokens);
    EXPECT_EQ(answers[i].logprobs, answers[0].logprobs);
  }
  engine.Stop();
}

TEST(ProcessExecutorTest, ServesOnEveryGroup) {
  ServesSomeRequests(TinyOptions(2, 1), SmallEngine());
}

TEST(ProcessExecutorTest, ServesWithATensorParallelGroup) {
  ServesSomeRequests(TinyOptions(1, 2), SmallEngine());
}

TEST(ProcessExecutorTest, ServesARealModel) {
  const char* const model = std::getenv("PHX_TEST_MODEL");
  if (model == nullptr || !std::filesystem::exists(model)) GTEST_SKIP() << "PHX_TEST_MODEL names no model";
  ProcessExecutorOptions options = TinyOptions(2, 1);
  options.model_path = model;
  options.kv_bytes_per_rank = -1;
  options.memory_fraction = 0.5;
  int last = -1, total = 0;
  options.progress = [&](const LoadProgress& progress) {
    EXPECT_GE(progress.tasks_done, last);
    last = progress.tasks_done;
    total = progress.num_tasks;
  };
  ServesSomeRequests(options, SmallEngine());
  EXPECT_GT(total, 0);
  EXPECT_EQ(last, total);
}

TEST(ProcessExecutorTest, AWrongModelGivesTheReasonOfARank) {
  ProcessExecutorOptions options = TinyOptions(1, 2);
  options.model_path = "/nonexistent/model";
  const Status missing = ProcessExecutor::Start(options).status();
  EXPECT_FALSE(missing.ok());
  EXPECT_THAT(missing.message(),
              AllOf(HasSubstr("rank "), HasSubstr("(process "), HasSubstr("/nonexistent/model")));

  options = TinyOptions(1, 3);
  const Status layout = ProcessExecutor::Start(options).status();
  EXPECT_EQ(layout.code(), StatusCode::kInvalidArgument) << layout.ToString();
  EXPECT_THAT(layout.message(), HasSubstr("3"));
}

TEST(ProcessExecutorTest, AWrongSettingGivesTheReasonOfARank) {
  ProcessExecutorOptions options = TinyOptions(1, 1);
  options.kernel_table = "abacus";
  EXPECT_THAT(ProcessExecutor::Start(options).status().message(), HasSubstr("abacus"));
  options = TinyOptions(1, 1);
  options.kv_format = "f7";
  EXPECT_THAT(ProcessExecutor::Start(options).status().message(), HasSubstr("f7"));
}

TEST(ProcessExecutorTest, TooLittleMemoryIsRefused) {
  ProcessExecutorOptions options = TinyOptions(1, 1);
  options.kv_bytes_per_rank = 1000;
  const Status status = ProcessExecutor::Start(options).status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("npuMemSize"));
}

TEST(ProcessExecutorTest, AWorkerThatCannotRunOrEndsAtOnceIsReported) {
  ProcessExecutorOptions options = TinyOptions(1, 1);
  options.worker_program = "/nonexistent/phalanx-worker";
  EXPECT_THAT(ProcessExecutor::Start(options).status().message(), HasSubstr("/nonexistent/phalanx-worker"));
  options.worker_program = "/bin/false";
  const Status status = ProcessExecutor::Start(options).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 0 (process "), HasSubstr("exited with status 1")));
}

TEST(ProcessExecutorTest, ASilentWorkerEndsTheStartAtItsDeadline) {
  ProcessExecutorOptions options = TinyOptions(1, 1);
  options.worker_program = PHX_SOURCE_DIR "/src/serve/engine/testdata/silent_worker.sh";
  options.start_timeout = seconds(1);
  const Status status = ProcessExecutor::Start(options).status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("rank 0 (process "));
}

TEST(ProcessExecutorTest, AStartCanBeCancelled) {
  ProcessExecutorOptions options = TinyOptions(2, 1);
  options.worker_program = PHX_SOURCE_DIR "/src/serve/engine/testdata/silent_worker.sh";
  std::atomic<int> asked{0};
  options.cancelled = [&] { return ++asked > 2; };
  const SteadyTime start = std::chrono::steady_clock::now();
  const Status status = ProcessExecutor::Start(options).status();
  EXPECT_EQ(status.code(), StatusCode::kCancelled) << status.ToString();
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(5));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a process was left behind";
}

TEST(ProcessExecutorTest, ShutdownLeavesNoProcessAndNoMemory) {
  std::vector<pid_t> pids;
  {
    const auto executor = MustStart(TinyOptions(2, 2));
    ASSERT_NE(executor, nullptr);
    EXPECT_GT(NumSharedSegments(), 0);
    for (const auto& rank : executor->report().ranks) pids.push_back(rank.pid);
    EXPECT_EQ(pids.size(), 4u);
    for (const pid_t pid : pids) EXPECT_TRUE(Exists(pid));
    const SteadyTime start = std::chrono::steady_clock::now();
    executor->Shutdown();
    EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(4)) << "a worker had to be killed";
    for (const pid_t pid : pids) EXPECT_FALSE(Exists(pid));
    executor->Shutdown();
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(NumSharedSegments(), 0);
}

TEST(ProcessExecutorTest, AKilledWorkerEndsItsDomainAndNoOther) {
  const auto executor = MustStart(TinyOptions(2, 2));
  ASSERT_NE(executor, nullptr);
  Answers lost, kept;
  Engine engine(SmallEngine(), executor.get());
  engine.Start();
  for (int i = 0; i < 3; ++i) lost.Submit(&engine, {5, 6, 7}, 190, 1);
  ASSERT_TRUE(lost.WaitTokens(1));
  const auto& rank = executor->report().ranks[3];
  ASSERT_EQ(rank.group, 1);
  ASSERT_EQ(::kill(rank.pid, SIGKILL), 0);
  ASSERT_TRUE(lost.WaitFinished());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lost[i].status.code(), StatusCode::kUnavailable) << lost[i].status.ToString();
    EXPECT_EQ(lost[i].status.message(),
              "rank 3 (process " + std::to_string(rank.pid) + ") was killed by SIGKILL");
  }
  EXPECT_EQ(executor->health().message(), lost[0].status.message());
  // The other rank of the domain has left its exchange and ended in peace.
  EXPECT_TRUE(WaitUntil([&] { return !Exists(executor->report().ranks[2].pid); }));
  kept.Submit(&engine, {5, 6, 7}, 5, 0);
  ASSERT_TRUE(kept.WaitFinished());
  EXPECT_TRUE(kept[0].status.ok()) << kept[0].status.ToString();
  engine.Stop();
}

TEST(ProcessExecutorTest, AnIdleWorkerThatDiesIsNoticed) {
  const auto executor = MustStart(TinyOptions(1, 1));
  ASSERT_NE(executor, nullptr);
  EXPECT_TRUE(executor->health().ok());
  ASSERT_EQ(::kill(executor->report().ranks[0].pid, SIGUSR1), 0);
  ASSERT_TRUE(WaitUntil([&] { return !executor->health().ok(); }));
  EXPECT_THAT(executor->health().message(), HasSubstr("was killed by SIGUSR1"));
  StepPlan plan;
  plan.step_id = 1;
  plan.batches.resize(1);
  EXPECT_EQ(executor->Submit(plan).code(), StatusCode::kUnavailable);
}

TEST(ProcessExecutorTest, AHungRankPassesItsDeadlineAndIsNamed) {
  ProcessExecutorOptions options = TinyOptions(1, 2);
  options.step_timeout = milliseconds(600);
  options.shutdown_timeout = milliseconds(200);
  const auto executor = MustStart(options);
  ASSERT_NE(executor, nullptr);
  Answers answers;
  Engine engine(SmallEngine(), executor.get());
  engine.Start();
  answers.Submit(&engine, {5, 6, 7}, 190);
  ASSERT_TRUE(answers.WaitTokens(1));
  ASSERT_EQ(::kill(executor->report().ranks[1].pid, SIGSTOP), 0);
  ASSERT_TRUE(answers.WaitFinished());
  EXPECT_EQ(answers[0].status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(answers[0].status.message(), HasSubstr("rank 1"));
  engine.Stop();
}

TEST(ProcessExecutorTest, IdleRanksUseNoProcessor) {
  const auto executor = MustStart(TinyOptions(2, 2));
  ASSERT_NE(executor, nullptr);
  std::this_thread::sleep_for(milliseconds(200));
  std::vector<int64_t> before;
  for (const auto& rank : executor->report().ranks) before.push_back(CpuTicks(rank.pid));
  std::this_thread::sleep_for(seconds(1));
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_LE(CpuTicks(executor->report().ranks[i].pid) - before[i], 1) << "of 100 clock ticks";
  }
}

// Holds the other end of a pipe from a copy of this process that runs `main` until it is killed.
class Copy {
 public:
  explicit Copy(const std::function<void(int write_fd)>& main) {
    int fds[2];
    CHECK(::pipe(fds) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(fds[0]);
      main(fds[1]);
      ::_exit(0);
    }
    ::close(fds[1]);
    read_fd_ = UniqueFd(fds[0]);
  }
  pid_t pid() const { return pid_; }
  int read_fd() const { return read_fd_.get(); }

 private:
  pid_t pid_ = -1;
  UniqueFd read_fd_;
};

TEST(ProcessExecutorTest, WorkersDieWithTheDaemon) {
  // Orphans come to us instead of to init, so that we can see how they ended.
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Copy daemon([](int write_fd) {
    const auto executor = MustStart(TinyOptions(2, 1));
    for (const auto& rank : executor->report().ranks) {
      if (::write(write_fd, &rank.pid, sizeof(rank.pid)) < 0) ::_exit(1);
    }
    ::pause();
  });
  int pids[2] = {0, 0};
  for (int& pid : pids)
    ASSERT_EQ(::read(daemon.read_fd(), &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ASSERT_EQ(::kill(daemon.pid(), SIGKILL), 0);
  ASSERT_EQ(::waitpid(daemon.pid(), nullptr, 0), daemon.pid());
  for (const int pid : pids) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                (WIFEXITED(status) && WEXITSTATUS(status) == 0));
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace phalanx
