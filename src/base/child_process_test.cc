#include "base/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/unix_socket.h"

namespace phalanx {
namespace {

SteadyTime In(int milliseconds) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
}

Result<ChildProcess> Shell(const std::string& script, std::vector<int> fds = {}) {
  return ChildProcess::Spawn({"/bin/sh", {"-c", script}, std::move(fds)});
}

TEST(ChildProcessTest, TellsHowItEnded) {
  Result<ChildProcess> good = Shell("exit 0");
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good->Wait(In(10000)), "exited with status 0");
  Result<ChildProcess> bad = Shell("exit 3");
  ASSERT_TRUE(bad.ok());
  EXPECT_EQ(bad->Wait(In(10000)), "exited with status 3");
  EXPECT_EQ(bad->Poll(), "exited with status 3");

  Result<ChildProcess> killed = Shell("sleep 100");
  ASSERT_TRUE(killed.ok());
  EXPECT_EQ(killed->Poll(), std::nullopt);
  EXPECT_EQ(killed->Wait(In(20)), std::nullopt);
  killed->Signal(SIGKILL);
  EXPECT_EQ(killed->Wait(In(10000)), "killed by SIGKILL");
}

TEST(ChildProcessTest, NamesAProgramThatCannotRun) {
  const Result<ChildProcess> missing = ChildProcess::Spawn({"/no/such/program", {}, {}});
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  const Result<ChildProcess> folder = ChildProcess::Spawn({"/tmp", {}, {}});
  EXPECT_NE(folder.status().message().find("/tmp"), std::string::npos);
}

TEST(ChildProcessTest, InheritsTheGivenDescriptorsOnly) {
  auto pair = MessageSocket::CreatePair();
  ASSERT_TRUE(pair.ok());
  const UniqueFd leaked(::open("/dev/null", O_RDONLY));  // without close-on-exec, as libraries do
  Result<ChildProcess> child = Shell("ls /proc/self/fd | tr '\\n' ' ' >&3", {pair->second.fd()});
  ASSERT_TRUE(child.ok());
  std::string seen;
  const Result<MessageSocket::Message> message = pair->first.Receive(In(10000));
  ASSERT_TRUE(message.ok());
  // 3 is what we gave; 4 is the folder that ls reads.
  EXPECT_EQ(message->text.substr(0, 9), "0 1 2 3 4") << message->text;
  EXPECT_EQ(message->text.find('5'), std::string::npos) << message->text;
  EXPECT_EQ(child->Wait(In(10000)), "exited with status 0");
}

TEST(ChildProcessTest, ItsEndClosesItsSocket) {
  auto pair = MessageSocket::CreatePair();
  ASSERT_TRUE(pair.ok());
  Result<ChildProcess> child = Shell("exec sleep 100", {pair->second.fd()});
  ASSERT_TRUE(child.ok());
  pair->second.Release();
  EXPECT_EQ(pair->first.Receive(In(20)).status().code(), StatusCode::kDeadlineExceeded);
  child->Signal(SIGTERM);
  EXPECT_EQ(pair->first.Receive(In(10000)).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(child->Wait(In(10000)), "killed by SIGTERM");
}

TEST(ChildProcessTest, EndsWithItsParent) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    Result<ChildProcess> child = Shell("sleep 100");
    const pid_t pid = child.ok() ? child->pid() : -1;
    if (::write(fds[1], &pid, sizeof(pid)) != sizeof(pid)) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  pid_t grandchild = -1;
  ASSERT_EQ(::read(fds[0], &grandchild, sizeof(grandchild)), static_cast<ssize_t>(sizeof(grandchild)));
  ASSERT_GT(grandchild, 0);
  EXPECT_EQ(::kill(grandchild, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  // Dead, though perhaps not yet reaped by whoever inherits it.
  const std::string stat = "/proc/" + std::to_string(grandchild) + "/stat";
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i) {
    char text[256] = {};
    const UniqueFd file(::open(stat.c_str(), O_RDONLY));
    gone = !file.ok() || ::read(file.get(), text, sizeof(text) - 1) <= 0 ||
           std::string(text).find(") Z") != std::string::npos ||
           std::string(text).find(") X") != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(gone);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(ChildProcessTest, IsKilledAndReapedWhenItGoes) {
  pid_t pid = -1;
  {
    Result<ChildProcess> child = Shell("sleep 100");
    ASSERT_TRUE(child.ok());
    pid = child->pid();
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(MessageSocketTest, CarriesMessagesAndDescriptors) {
  auto pair = MessageSocket::CreatePair();
  ASSERT_TRUE(pair.ok());
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  EXPECT_EQ(pair->second.Receive(SteadyTime::min()).status().code(), StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(pair->first.Send("one", {pipe_fds[0]}).ok());
  ASSERT_TRUE(pair->first.Send("two").ok());
  const Result<MessageSocket::Message> one = pair->second.Receive(In(1000));
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->text, "one");
  ASSERT_EQ(one->fds.size(), 1u);
  EXPECT_EQ(::write(pipe_fds[1], "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(one->fds[0].get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(pair->second.Receive(In(1000))->text, "two");
  EXPECT_EQ(pair->first.Send(std::string(MessageSocket::kMaxMessageBytes + 1, 'x')).code(),
            StatusCode::kInvalidArgument);
  ::close(pipe_fds[0]);
  ::close(pipe_fds[1]);
}

}  // namespace
}  // namespace phalanx
