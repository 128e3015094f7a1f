#include "base/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/unix_socket.h"

namespace phalanx {
namespace {

constexpr int kFirstInheritedFd = 3;

// Runs in the forked child of a process with threads: async-signal-safe calls only, nothing allocates.
// Returns errno if the program could not be started.
int ExecInChild(pid_t parent, const char* program, char* const* argv, int* fds, int num_fds, int* report_fd) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
  // The parent may have ended before the line above.
  if (::getppid() != parent) ::_exit(127);

  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  // First out of the way of the target numbers, then onto them (dup2 clears close-on-exec).
  const int first_free = kFirstInheritedFd + num_fds;
  *report_fd = ::fcntl(*report_fd, F_DUPFD_CLOEXEC, first_free);
  if (*report_fd < 0) return errno;
  for (int i = 0; i < num_fds; ++i) {
    fds[i] = ::fcntl(fds[i], F_DUPFD_CLOEXEC, first_free);
    if (fds[i] < 0) return errno;
  }
  for (int i = 0; i < num_fds; ++i) {
    if (::dup2(fds[i], kFirstInheritedFd + i) < 0) return errno;
  }
  // Descriptors that some library opened without close-on-exec stay here; ours all have it.
  ::syscall(SYS_close_range, static_cast<unsigned>(first_free), UINT_MAX, 4u /* CLOSE_RANGE_CLOEXEC */);
  ::execv(program, argv);
  return errno;
}

std::string DescribeEnding(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exited with status " + std::to_string(info.si_status);
  std::string text = "killed by " + SignalName(info.si_status);
  if (info.si_code == CLD_DUMPED) text += " (core dumped)";
  return text;
}

}  // namespace

std::string SignalName(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

Result<std::string> OwnProgramPath() {
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  if (length < 0) return ErrnoStatus("cannot read /proc/self/exe");
  return std::string(path, static_cast<size_t>(length));
}

Result<ChildProcess> ChildProcess::Spawn(const SpawnOptions& options) {
  if (::access(options.program.c_str(), F_OK) != 0) return NotFound("no such program: " + options.program);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  const UniqueFd report_in(pipe_fds[0]);
  UniqueFd report_out(pipe_fds[1]);

  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(options.program.c_str()));
  for (const std::string& argument : options.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  std::vector<int> fds = options.inherited_fds;
  const pid_t parent = ::getpid();

  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) {
    int report_fd = report_out.get();
    const int error = ExecInChild(parent, options.program.c_str(), argv.data(), fds.data(),
                                  static_cast<int>(fds.size()), &report_fd);
    [[maybe_unused]] const ssize_t ignored = ::write(report_fd, &error, sizeof(error));
    ::_exit(127);
  }

  ChildProcess child;
  child.pid_ = pid;
  child.pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!child.pidfd_.ok()) return ErrnoStatus("pidfd_open");
  report_out.Reset();
  int error = 0;
  ssize_t got = 0;
  do {
    got = ::read(report_in.get(), &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(error)) {
    errno = error;
    return ErrnoStatus("cannot run " + options.program);
  }
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      ending_(std::move(other.ending_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(ending_, other.ending_);
  return *this;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || ending_) return;
  ::kill(pid_, SIGKILL);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

std::optional<std::string> ChildProcess::Poll() {
  if (pid_ < 0 || ending_) return ending_;
  siginfo_t info{};
  const int result = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG);
  if (result == 0 && info.si_pid == 0) return std::nullopt;
  if (result != 0 && errno == EINTR) return std::nullopt;
  ending_ = result == 0 ? DescribeEnding(info) : std::string("ended in an unknown way");
  pidfd_.Reset();
  return ending_;
}

std::optional<std::string> ChildProcess::Wait(SteadyTime deadline) {
  while (true) {
    if (std::optional<std::string> ending = Poll()) return ending;
    if (pid_ < 0) return std::nullopt;
    const Result<bool> ended = WaitReadable(pidfd_.get(), deadline);
    if (!ended.ok() || !*ended) return Poll();
  }
}

void ChildProcess::Signal(int signal) {
  if (pid_ >= 0 && !ending_) ::kill(pid_, signal);
}

}  // namespace phalanx
