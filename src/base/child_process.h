#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"

namespace phalanx {

struct SpawnOptions {
  std::string program;                 // path; not searched for
  std::vector<std::string> arguments;  // without the program's own name
  // Descriptors that the child inherits, as numbers 3, 4, ... in this order. Nothing else is inherited but 0,
  // 1, 2.
  std::vector<int> inherited_fds;
};

// A program that we started and watch. The system kills it when the THREAD that spawned it ends, so spawn
// from one that lives as long. Killed and reaped when this goes. One thread at a time.
class ChildProcess {
 public:
  // NotFound if there is no such program, Internal with the system's reason otherwise. The child has default
  // signal handling and an empty signal mask.
  static Result<ChildProcess> Spawn(const SpawnOptions& options);

  ChildProcess() = default;
  ~ChildProcess();
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) noexcept;

  pid_t pid() const { return pid_; }
  // Becomes readable when the process has ended; for poll. -1 once it has been reaped.
  int pidfd() const { return pidfd_.get(); }

  // How it ended: "exited with status 2", "killed by SIGKILL"; nothing while it runs. Reaps it.
  std::optional<std::string> Poll();
  // The same after waiting; nothing if the deadline passes first.
  std::optional<std::string> Wait(SteadyTime deadline);
  // Does nothing once it has ended.
  void Signal(int signal);

 private:
  pid_t pid_ = -1;
  UniqueFd pidfd_;
  std::optional<std::string> ending_;
};

// "SIGKILL" for 9.
std::string SignalName(int signal);

// The path of the program that this process runs.
Result<std::string> OwnProgramPath();

}  // namespace phalanx
