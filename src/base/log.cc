#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cctype>
#include <memory>

namespace phalanx {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};

std::shared_ptr<spdlog::logger> MakeLogger(std::string_view who, LogTarget target) {
  spdlog::sink_ptr sink;
  if (target == LogTarget::kStdout) {
    sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
  auto logger = std::make_shared<spdlog::logger>("phalanx", std::move(sink));
  std::string label;
  for (const char c : who) label += c == '%' ? "%%" : std::string(1, c);
  logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %l " + (label.empty() ? "" : "[" + label + "] ") + "%v");
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

// Never destroyed: threads may log until the process ends.
std::shared_ptr<spdlog::logger>& Logger() {
  static auto* logger = new std::shared_ptr<spdlog::logger>(MakeLogger("", LogTarget::kStderr));
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

void InitLog(std::string_view who, LogLevel level, LogTarget target) {
  SetLogLevel(level);
  Logger() = MakeLogger(who, target);
}

void SetLogLevel(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}
LogLevel GetLogLevel() {
  return g_level.load(std::memory_order_relaxed);
}

LogLevel ParseLogLevel(std::string_view name) {
  std::string lower;
  for (const char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (lower == "debug" || lower == "trace" || lower == "verbose") return LogLevel::kDebug;
  if (lower == "warn" || lower == "warning") return LogLevel::kWarning;
  if (lower == "error" || lower == "critical") return LogLevel::kError;
  if (lower == "off" || lower == "null") return LogLevel::kOff;
  return LogLevel::kInfo;
}

void LogLine(LogLevel level, std::string_view message) {
  if (level == LogLevel::kOff) return;
  Logger()->log(ToSpdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace phalanx
