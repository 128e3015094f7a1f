#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "serve/engine/engine.h"

namespace phalanx {

// The server's metrics in the Prometheus text form. Those of requests are counted here as they happen; those of the
// engine are read from its Stats when the page is asked for. The table in api_metrics.cc has all names. Thread-safe.
class ApiMetrics {
 public:
  // `model_name` is the label of every metric; metrics of one attention-dp group (names "dp_rank_...") have the label
  // dp_rank as well.
  explicit ApiMetrics(std::string model_name);
  ~ApiMetrics();

  void RequestReceived();
  // Answered in full, or not: refused, failed, client gone.
  void RequestEnded(bool success);

  void ObserveTimeToFirstToken(double seconds);
  // `count` tokens that took `seconds` each.
  void ObserveTimePerToken(double seconds, size_t count);
  void ObserveRequestTime(double seconds);
  void ObservePromptTokens(int64_t count);
  void ObserveGenerationTokens(int64_t count);

  // The page. Throughputs are means since the last page that is at least a second old.
  std::string Page(const EngineStats& stats, double now_seconds);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace phalanx
