// Start: configuration and layout are checked first, then the tokenizer (here) and the ranks (in their processes) load at
// the same time, then the planes open. End: the planes refuse, running requests finish, ranks and sockets go.
#include "app/serve.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "config/config_loader.h"
#include "config/model_path.h"
#include "parallel/parallel_layout.h"
#include "serve/api/api_context.h"
#include "serve/api/api_metrics.h"
#include "serve/api/endpoint_table.h"
#include "serve/api/error_reply.h"
#include "serve/api/work_pool.h"
#include "serve/engine/engine.h"
#include "serve/engine/process_executor.h"
#include "serve/http/http_server.h"

namespace phalanx {
namespace {

constexpr int kExitConfiguration = 1;
constexpr int kExitRuntime = 2;
// How long running requests may take after SIGTERM.
constexpr std::chrono::seconds kDrainDeadline{30};

// SIGINT and SIGTERM are blocked in every thread and taken here, one at a time.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }
  // The signal that came within `timeout`, or 0.
  int Wait(std::chrono::milliseconds timeout) const {
    const timespec time{timeout.count() / 1000, timeout.count() % 1000 * 1000000};
    const int signal = sigtimedwait(&set_, nullptr, &time);
    return signal > 0 ? signal : 0;
  }

 private:
  sigset_t set_;
};

double SecondsSince(SteadyTime start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Text {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;  // null: the model has none
  GenerationDefaults defaults;
};

Result<Text> OpenText(const std::string& model_path) {
  Text text;
  ASSIGN_OR_RETURN(text.tokenizer, Tokenizer::Open(model_path));
  if (text.tokenizer->has_chat_template()) {
    ASSIGN_OR_RETURN(text.chat_template, ChatTemplate::FromModel(text.tokenizer));
  }
  ASSIGN_OR_RETURN(text.defaults, LoadGenerationDefaults(model_path));
  return text;
}

EngineOptions MakeEngineOptions(const ServeConfig& config) {
  EngineOptions options;
  options.max_seq_len = config.deploy.max_seq_len;
  options.max_input_tokens = config.deploy.max_input_token_len;
  options.max_output_tokens = config.schedule.max_iter_times;
  options.max_batch_size = config.schedule.max_batch_size;
  options.max_step_tokens = config.schedule.max_prefill_tokens;
  options.max_prefill_batch_size = config.schedule.max_prefill_batch_size;
  options.max_running_requests = config.server.max_link_num;
  options.max_queued_requests = 2 * int64_t{config.server.max_link_num};
  options.token_timeout = std::chrono::seconds(config.server.token_timeout);
  options.request_timeout = std::chrono::seconds(config.server.e2e_timeout);
  return options;
}

ProcessExecutorOptions MakeExecutorOptions(const ServeConfig& config, const ParallelLayout& layout,
                                           const std::string& model_path, const StopSignals& signals) {
  ProcessExecutorOptions options;
  options.model_path = model_path;
  options.dp = layout.attn_dp;
  options.tp = layout.attn_tp;
  options.kernel_table = config.model.kernels;
  options.kv_format = config.model.kv_cache_type;
  options.block_size = config.schedule.cache_block_size;
  options.kv_bytes_per_rank = config.model.npu_mem_size < 0 ? -1 : int64_t{config.model.npu_mem_size} << 30;
  options.memory_fraction = config.environment.npu_memory_fraction;
  options.max_batch_size = config.schedule.max_batch_size;
  options.max_seq_len = config.deploy.max_seq_len;
  options.threads_per_rank = config.model.threads_per_rank;
  options.log_level = config.environment.log_level;
  options.cancelled = [&signals] { return signals.Wait(std::chrono::milliseconds(0)) != 0; };
  // Small models are packed before anybody reads a line; large ones show that something happens.
  options.progress = [last = std::chrono::steady_clock::now()](const LoadProgress& progress) mutable {
    if (const SteadyTime now = std::chrono::steady_clock::now(); now - last >= std::chrono::seconds(1)) {
      LogInfo("packing weights: {} of {} parts", progress.tasks_done, progress.num_tasks);
      last = now;
    }
  };
  return options;
}

HttpServerOptions MakeHttpOptions(const ServeConfig& config) {
  HttpServerOptions options;
  options.max_body_bytes = int64_t{config.server.max_request_length} << 20;
  options.render_error = HttpErrorReply;
  return options;
}

std::vector<HttpPlane> MakePlanes(const ServeConfig& config, ApiContext& context) {
  const ServerConfig& server = config.server;
  return {{"business", server.ip_address, static_cast<uint16_t>(server.port),
           MakeRouter(kBusinessPlane, context)},
          {"management", server.management_ip_address, static_cast<uint16_t>(server.management_port),
           MakeRouter(kManagementPlane, context)},
          {"metrics", server.management_ip_address, static_cast<uint16_t>(server.metrics_port),
           MakeRouter(kMetricsPlane, context)}};
}

int Fail(int exit_code, const Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return exit_code;
}

// A wrong file or value is the user's to mend; everything else is ours or the machine's.
int ExitCodeOf(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kUnimplemented:
      return kExitConfiguration;
    default:
      return kExitRuntime;
  }
}

void ReportConfiguration(const LoadedConfig& loaded, const ParallelLayout& layout) {
  LogInfo("configuration {}: {}", loaded.path, layout.ToString());
  for (const std::string& warning : loaded.warnings) LogWarning("{}", warning);
  if (const std::string warning = ModelPathWarning(loaded.config); !warning.empty())
    LogWarning("{}", warning);
  for (const std::string& adjustment : loaded.adjustments) LogInfo("{}", adjustment);
  for (const std::string& line : {loaded.WithoutEffectLine(), loaded.IgnoredLine()}) {
    if (!line.empty()) LogWarning("{}", line);
  }
}

// Serves until a signal or the loss of a rank. Returns the exit code.
int ServeUntilStopped(const StopSignals& signals, Engine& engine, HttpServer& server) {
  int exit_code = 0;
  for (;;) {
    if (const int signal = signals.Wait(std::chrono::milliseconds(250)); signal != 0) {
      LogInfo("{}: no new requests, running ones have {} s to finish",
              signal == SIGINT ? "Ctrl-C" : "SIGTERM", kDrainDeadline.count());
      break;
    }
    if (const Status health = engine.Health(); !health.ok()) {
      LogError("{}; stopping", health.message());
      exit_code = kExitRuntime;
      break;
    }
  }
  // A second signal cuts the waiting short.
  std::atomic<bool> drained{false};
  std::thread drain([&] {
    engine.Drain(std::chrono::duration_cast<std::chrono::milliseconds>(kDrainDeadline));
    drained = true;
  });
  while (!drained && signals.Wait(std::chrono::milliseconds(20)) == 0) {
  }
  if (!drained) engine.Stop();
  drain.join();
  server.Stop(std::chrono::seconds(2));
  engine.Stop();
  return exit_code;
}

int Serve(const ServeConfig& config, const ParallelLayout& layout, const std::string& model_path,
          const StopSignals& signals) {
  const SteadyTime start = std::chrono::steady_clock::now();

  // The planes are bound before anything is loaded: an occupied port should not cost a model's loading time.
  ApiContext context;
  ApiMetrics metrics(config.model.model_name);
  Result<std::unique_ptr<HttpServer>> server =
      HttpServer::Create(MakeHttpOptions(config), MakePlanes(config, context));
  if (!server.ok()) return Fail(ExitCodeOf(server.status()), server.status());

  std::future<Result<Text>> text_future = std::async(std::launch::async, OpenText, model_path);
  Result<std::unique_ptr<ProcessExecutor>> executor =
      ProcessExecutor::Start(MakeExecutorOptions(config, layout, model_path, signals));
  Result<Text> text = text_future.get();
  if (!text.ok()) return Fail(ExitCodeOf(text.status()), text.status());
  if (!executor.ok()) {
    if (executor.status().code() == StatusCode::kCancelled) return 0;  // Ctrl-C while loading
    return Fail(ExitCodeOf(executor.status()), executor.status());
  }

  for (const std::string& line : (*executor)->report().Lines()) LogInfo("{}", line);

  Engine engine(MakeEngineOptions(config), executor->get());
  engine.Start();
  WorkPool pool(
      std::min(2, config.backend.tokenizer_process_number));  // ends before the engine that its tasks ask
  context.engine = &engine;
  context.tokenizer = text->tokenizer;
  context.chat_template = text->chat_template;
  context.model_name = config.model.model_name;
  context.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  context.defaults = text->defaults;
  context.limits.max_json_depth = config.server.max_json_depth;
  context.limits.max_n = config.schedule.max_n;
  context.limits.truncation = config.deploy.truncation;
  context.metrics = &metrics;
  context.pool = &pool;
  context.started = true;
  (*server)->Start();
  LogInfo("ready after {:.2f} s: http://{}:{}/v1", SecondsSince(start), config.server.ip_address,
          config.server.port);
  std::printf("Daemon start success!\n");
  std::fflush(stdout);

  const int exit_code = ServeUntilStopped(signals, engine, **server);
  (*executor)->Shutdown();
  LogInfo("ended");
  return exit_code;
}

}  // namespace

int RunServe(const ServeOptions& options) {
  const StopSignals signals;
  InitLog("daemon", LogLevel::kInfo);
  const Environment environment = Environment::OfProcess();
  const std::string executable = std::filesystem::canonical("/proc/self/exe").string();
  const Result<LoadedConfig> loaded = LoadServeConfig(
      FindConfigFile(options.config_file, executable, environment), environment,
      {[](const ServeConfig& config) { return ParallelLayout::Create(config.model).status(); },
       [](const ServeConfig& config) { return ResolveModelPath(config.model.model_weight_path).status(); }});
  if (!loaded.ok()) return Fail(kExitConfiguration, loaded.status());
  const EnvironmentConfig& settings = loaded->config.environment;
  InitLog("daemon", ParseLogLevel(settings.log_level),
          settings.log_to_stdout ? LogTarget::kStdout : LogTarget::kStderr);
  const Result<ParallelLayout> layout = ParallelLayout::Create(loaded->config.model);
  const Result<ModelPath> model = ResolveModelPath(loaded->config.model.model_weight_path);
  CHECK(layout.ok() && model.ok());
  ReportConfiguration(*loaded, *layout);
  return Serve(loaded->config, *layout, model->path, signals);
}

}  // namespace phalanx
