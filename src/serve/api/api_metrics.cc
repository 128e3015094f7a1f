#include "serve/api/api_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>

namespace phalanx {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const Buckets kFirstTokenBuckets = {.001, .005, .01, .02, .04, .06, .08, .1,
                                    .25,  .5,   .75, 1,   2.5, 5,   7.5, 10};
const Buckets kPerTokenBuckets = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5};
const Buckets kRequestBuckets = {1, 2.5, 5, 10, 15, 20, 30, 40, 50, 60};
const Buckets kTokenCountBuckets = {10,    50,    100,   200,   500,   1000,  2000,  5000,
                                    10000, 16000, 20000, 32000, 50000, 64000, 128000};

// What is read from the engine: one row, one metric.
struct EngineMetric {
  const char* name;
  const char* help;
  MetricType type;
  double (*value)(const EngineStats::Group& group);
};

double UsedShare(const EngineStats::Group& g) {
  return g.total_blocks > 0 ? static_cast<double>(g.used_blocks) / static_cast<double>(g.total_blocks) : 0.0;
}

const EngineMetric kGroupMetrics[] = {
    {"dp_rank_num_requests_running", "Sequences that hold cache blocks", MetricType::Gauge,
     [](const EngineStats::Group& g) { return static_cast<double>(g.running); }},
    {"dp_rank_num_requests_waiting", "Sequences that wait for this rank", MetricType::Gauge,
     [](const EngineStats::Group& g) { return static_cast<double>(g.waiting); }},
    {"dp_rank_npu_cache_usage_perc", "Share of the rank's cache blocks in use, 0 to 1", MetricType::Gauge,
     UsedShare},
    {"dp_rank_prompt_tokens_total", "Prompt tokens computed", MetricType::Counter,
     [](const EngineStats::Group& g) { return static_cast<double>(g.prompt_tokens); }},
    {"dp_rank_generation_tokens_total", "Tokens generated", MetricType::Counter,
     [](const EngineStats::Group& g) { return static_cast<double>(g.generation_tokens); }},
    {"dp_rank_num_preemptions_total", "Sequences that lost their blocks and start over", MetricType::Counter,
     [](const EngineStats::Group& g) { return static_cast<double>(g.preemptions); }},
    {"dp_rank_steps_total", "Steps computed", MetricType::Counter,
     [](const EngineStats::Group& g) { return static_cast<double>(g.steps); }},
    {"dp_rank_busy_seconds_total", "Time spent in steps", MetricType::Counter,
     [](const EngineStats::Group& g) { return g.busy_seconds; }},
};

ClientMetric Value(MetricType type, double value) {
  ClientMetric metric;
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return metric;
}

}  // namespace

class ApiMetrics::Impl {
 public:
  explicit Impl(std::string model_name)
      : model_name_(std::move(model_name)),
        received(Counter("request_received_total", "Inference requests that came")),
        succeeded(Counter("request_success_total", "Inference requests that were answered in full")),
        failed(Counter("request_failed_total",
                       "Inference requests that were refused, failed, or lost their client")),
        first_token(Histogram("time_to_first_token_seconds", "From the request to its first token",
                              kFirstTokenBuckets)),
        per_token(Histogram("time_per_output_token_seconds", "From one token to the next", kPerTokenBuckets)),
        request_time(
            Histogram("e2e_request_latency_seconds", "From the request to its last token", kRequestBuckets)),
        prompt_tokens(Histogram("request_prompt_tokens", "Prompt tokens of a request", kTokenCountBuckets)),
        generation_tokens(Histogram("request_generation_tokens", "Tokens of a choice", kTokenCountBuckets)) {}

  std::string Page(const EngineStats& stats, double now_seconds) {
    std::vector<MetricFamily> families = registry_.Collect();
    EngineStats::Group sum;
    for (const EngineStats::Group& group : stats.groups) {
      sum.used_blocks += group.used_blocks;
      sum.total_blocks += group.total_blocks;
      sum.prompt_tokens += group.prompt_tokens;
      sum.generation_tokens += group.generation_tokens;
      sum.preemptions += group.preemptions;
    }
    const auto add = [&](const char* name, const char* help, MetricType type, double value) {
      MetricFamily family{name, help, type, {}};
      family.metric.push_back(Value(type, value));
      family.metric.back().label.push_back({"model_name", model_name_});
      families.push_back(std::move(family));
    };
    const auto [prompt_rate, generation_rate] = Rates(
        static_cast<double>(sum.prompt_tokens), static_cast<double>(sum.generation_tokens), now_seconds);
    const double ended = succeeded.Value() + failed.Value();
    constexpr MetricType kGauge = MetricType::Gauge, kCounter = MetricType::Counter;
    add("prompt_tokens_total", "Prompt tokens computed", kCounter, static_cast<double>(sum.prompt_tokens));
    add("generation_tokens_total", "Tokens generated", kCounter, static_cast<double>(sum.generation_tokens));
    add("num_preemptions_total", "Sequences that lost their blocks and start over", kCounter,
        static_cast<double>(sum.preemptions));
    add("num_requests_running", "Requests under way", kGauge, static_cast<double>(stats.running_requests));
    add("num_requests_waiting", "Requests that wait", kGauge, static_cast<double>(stats.queued_requests));
    add("num_requests_swapped", "Requests swapped out: always 0, they are recomputed", kGauge, 0);
    add("avg_prompt_throughput_toks_per_s", "Prompt tokens per second", kGauge, prompt_rate);
    add("avg_generation_throughput_toks_per_s", "Generated tokens per second", kGauge, generation_rate);
    add("failed_request_perc", "Share of failures among the requests that ended, 0 to 1", kGauge,
        ended > 0 ? failed.Value() / ended : 0);
    add("npu_cache_usage_perc", "Share of the cache blocks in use, 0 to 1", kGauge, UsedShare(sum));
    add("cpu_cache_usage_perc", "Share of the swap space in use: there is none", kGauge, 0);
    add("npu_prefix_cache_hit_rate", "Share of prompt tokens found in the prefix cache", kGauge, 0);
    add("all_radix_match_num", "Prefix blocks found in all tiers", kGauge, 0);
    add("npu_radix_match_hit_num", "Prefix blocks found on the device", kGauge, 0);
    for (const EngineMetric& row : kGroupMetrics) {
      MetricFamily family{row.name, row.help, row.type, {}};
      for (size_t g = 0; g < stats.groups.size(); ++g) {
        family.metric.push_back(Value(row.type, row.value(stats.groups[g])));
        family.metric.back().label = {{"model_name", model_name_}, {"dp_rank", std::to_string(g)}};
      }
      families.push_back(std::move(family));
    }
    return prometheus::TextSerializer().Serialize(families);
  }

 private:
  // The members below are initialised through these.
  prometheus::Registry registry_;
  const std::string model_name_;

  prometheus::Counter& Counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(
        {{"model_name", model_name_}});
  }
  prometheus::Histogram& Histogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(
        {{"model_name", model_name_}}, buckets);
  }

  std::pair<double, double> Rates(double prompt_tokens_now, double generation_tokens_now,
                                  double now_seconds) {
    std::lock_guard lock(mutex_);
    const double elapsed = now_seconds - last_.time;
    if (last_.time == 0 || elapsed >= 1) {
      if (last_.time != 0) {
        rates_ = {(prompt_tokens_now - last_.prompt) / elapsed,
                  (generation_tokens_now - last_.generation) / elapsed};
      }
      last_ = {now_seconds, prompt_tokens_now, generation_tokens_now};
    }
    return rates_;
  }

  struct Sample {
    double time = 0, prompt = 0, generation = 0;
  };
  std::mutex mutex_;
  Sample last_;
  std::pair<double, double> rates_{0, 0};

 public:
  prometheus::Counter& received;
  prometheus::Counter& succeeded;
  prometheus::Counter& failed;
  prometheus::Histogram& first_token;
  prometheus::Histogram& per_token;
  prometheus::Histogram& request_time;
  prometheus::Histogram& prompt_tokens;
  prometheus::Histogram& generation_tokens;
};

ApiMetrics::ApiMetrics(std::string model_name) : impl_(std::make_unique<Impl>(std::move(model_name))) {}
ApiMetrics::~ApiMetrics() = default;

void ApiMetrics::RequestReceived() {
  impl_->received.Increment();
}
void ApiMetrics::RequestEnded(bool success) {
  (success ? impl_->succeeded : impl_->failed).Increment();
}
void ApiMetrics::ObserveTimeToFirstToken(double seconds) {
  impl_->first_token.Observe(seconds);
}
void ApiMetrics::ObserveTimePerToken(double seconds, size_t count) {
  for (size_t i = 0; i < count; ++i) impl_->per_token.Observe(seconds);
}
void ApiMetrics::ObserveRequestTime(double seconds) {
  impl_->request_time.Observe(seconds);
}
void ApiMetrics::ObservePromptTokens(int64_t count) {
  impl_->prompt_tokens.Observe(static_cast<double>(count));
}
void ApiMetrics::ObserveGenerationTokens(int64_t count) {
  impl_->generation_tokens.Observe(static_cast<double>(count));
}

std::string ApiMetrics::Page(const EngineStats& stats, double now_seconds) {
  return impl_->Page(stats, now_seconds);
}

}  // namespace phalanx
