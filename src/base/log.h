#pragma once

#include <spdlog/fmt/fmt.h>

#include <string>
#include <string_view>
#include <utility>

namespace phalanx {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

enum class LogTarget { kStderr, kStdout };

// Sends log lines to the target as "<date> <time> <level> [<who>] message". `who`: "daemon", "rank 3", ... Until
// the first call lines have no `who` and start at kInfo. Not while other threads log.
void InitLog(std::string_view who, LogLevel level, LogTarget target = LogTarget::kStderr);
// Any thread, any time.
void SetLogLevel(LogLevel level);
LogLevel GetLogLevel();
// "debug", "info", "warn" or "warning", "error", "off" and MindIE's spellings in any case; kInfo for anything
// else.
LogLevel ParseLogLevel(std::string_view name);

// Writes one line. Any thread.
void LogLine(LogLevel level, std::string_view message);

// LogInfo("packed {} of {} tensors", done, all). Arguments are formatted only if the level is on.
template <class... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (level >= GetLogLevel()) LogLine(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogDebug(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kDebug, format, std::forward<Args>(args)...);
}
template <class... Args>
void LogInfo(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kInfo, format, std::forward<Args>(args)...);
}
template <class... Args>
void LogWarning(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kWarning, format, std::forward<Args>(args)...);
}
template <class... Args>
void LogError(fmt::format_string<Args...> format, Args&&... args) {
  Log(LogLevel::kError, format, std::forward<Args>(args)...);
}

}  // namespace phalanx
