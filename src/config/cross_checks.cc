#include "config/cross_checks.h"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace phalanx {
namespace {

class CrossChecker {
 public:
  CrossChecker(const PresentFields& present, ServeConfig* config, ConfigReport* report)
      : present_(present), config_(*config), report_(*report) {
    for (const ConfigProblem& problem : report->problems) {
      if (!problem.later) bad_.insert(problem.field);
    }
  }

  void Run() {
    FillServer();
    FillDevices();
    CheckServer();
    CheckDevices();
    CheckLora();
    CheckSchedule();
    if (report_.problems.empty()) AdjustLimits();
  }

 private:
  bool Present(const char* field) const { return present_.contains(field); }
  // Whether the file gives both fields, each with an allowed value: only then can they contradict each other.
  bool BothGiven(const char* a, const char* b) const { return Usable(a) && Usable(b); }
  bool Usable(const char* field) const { return Present(field) && !bad_.contains(field); }

  void FillServer() {
    ServerConfig& server = config_.server;
    if (!Present("ServerConfig.managementIpAddress")) server.management_ip_address = server.ip_address;
    if (!Present("ServerConfig.managementPort")) server.management_port = server.port;
    bool has_certificates = Present("ServerConfig.tlsCert") || Present("ServerConfig.tlsPk");
    if (!Present("ServerConfig.httpsEnabled") && has_certificates) {
      server.https_enabled = true;
      report_.Later("ServerConfig.httpsEnabled", "nothing, beside a configured certificate, which means true",
                    "TLS comes later; set it to false and put a TLS proxy in front");
    }
  }

  void FillDevices() {
    ModelInstanceConfig& model = config_.model;
    IntLists& devices = config_.backend.npu_device_ids;
    if (!Present("ModelConfig.worldSize") && Usable("BackendConfig.npuDeviceIds") && !devices.empty()) {
      model.world_size = static_cast<int>(devices.front().size());
    }
    if (!Present("BackendConfig.npuDeviceIds") && !bad_.contains("ModelConfig.worldSize")) {
      IntList ids(static_cast<size_t>(model.world_size));
      std::iota(ids.begin(), ids.end(), 0);
      devices.assign(static_cast<size_t>(config_.backend.model_instance_number), ids);
    }
  }

  void CheckServer() {
    const ServerConfig& server = config_.server;
    CheckAddress("ServerConfig.ipAddress", server.ip_address);
    if (server.management_ip_address != server.ip_address) {
      CheckAddress("ServerConfig.managementIpAddress", server.management_ip_address);
    }
    if (BothGiven("ServerConfig.port", "BackendConfig.multiNodesInferPort") &&
        server.port == config_.backend.multi_nodes_infer_port) {
      report_.Found("BackendConfig.multiNodesInferPort", std::to_string(server.port),
                    "a port other than ServerConfig.port");
    }
  }

  void CheckAddress(const char* field, const std::string& address) {
    if (bad_.contains(field)) return;
    if (IsAllZeroAddress(address) && !config_.server.allow_all_zero_ip_listening) {
      report_.Found(
          field, '"' + address + '"',
          "an address of this machine; all of them (" + address + ") only with allowAllZeroIpListening true");
      return;
    }
    if (!IsLoopbackAddress(address) && !config_.server.https_enabled) {
      report_.Warn(std::string(field) + " " + address +
                   ": plain HTTP on an address that is not loopback; whoever reaches it can use the model");
    }
  }

  void CheckDevices() {
    if (bad_.contains("BackendConfig.npuDeviceIds") || bad_.contains("BackendConfig.modelInstanceNumber"))
      return;
    const IntLists& devices = config_.backend.npu_device_ids;
    const size_t instances = static_cast<size_t>(config_.backend.model_instance_number);
    const size_t world_size = static_cast<size_t>(config_.model.world_size);
    if (devices.size() != instances) {
      report_.Found("BackendConfig.npuDeviceIds", Count(devices.size(), "list"),
                    "as many lists as modelInstanceNumber, " + std::to_string(instances));
    }
    for (const IntList& ids : devices) {
      if (ids.size() != world_size && !bad_.contains("ModelConfig.worldSize")) {
        report_.Found("BackendConfig.npuDeviceIds", "a list of " + Count(ids.size(), "device"),
                      "as many devices as worldSize, " + std::to_string(world_size));
      }
      if (std::set<int>(ids.begin(), ids.end()).size() != ids.size()) {
        report_.Found("BackendConfig.npuDeviceIds", "a device twice in one list", "different devices");
      }
    }
  }

  void CheckLora() {
    for (const LoraModule& module : config_.deploy.lora_modules) {
      if (bad_.contains("LoraModules.baseModelName") || bad_.contains("ModelConfig.modelName")) return;
      if (module.base_model_name.empty() || module.base_model_name == config_.model.model_name) continue;
      report_.Found("LoraModules.baseModelName", '"' + module.base_model_name + '"',
                    "the modelName, \"" + config_.model.model_name + '"');
    }
  }

  void CheckSchedule() {
    const ScheduleConfig& schedule = config_.schedule;
    if (schedule.max_preempt_count > 0 && config_.model.cpu_mem_size == 0 &&
        !bad_.contains("ModelConfig.cpuMemSize")) {
      report_.Found("ScheduleConfig.maxPreemptCount", std::to_string(schedule.max_preempt_count),
                    "0, because ModelConfig.cpuMemSize is 0");
    }
    if (schedule.template_type != "Mix") {
      AtLeastIfBothGiven("ScheduleConfig.maxPrefillTokens", schedule.max_prefill_tokens,
                         "ModelDeployConfig.maxInputTokenLen", config_.deploy.max_input_token_len,
                         " unless templateType is \"Mix\"");
    }
    AtMostIfBothGiven("ScheduleConfig.maxPrefillBatchSize", schedule.max_prefill_batch_size,
                      "ScheduleConfig.maxBatchSize", schedule.max_batch_size);
    AtMostIfBothGiven("ScheduleConfig.maxPreemptCount", schedule.max_preempt_count,
                      "ScheduleConfig.maxBatchSize", schedule.max_batch_size);
    AtMostIfBothGiven("ScheduleConfig.maxN", schedule.max_n, "ScheduleConfig.maxBatchSize",
                      schedule.max_batch_size);
    AtMostIfBothGiven("ScheduleConfig.prefillChunkSize", schedule.prefill_chunk_size,
                      "ScheduleConfig.maxPrefillTokens", schedule.max_prefill_tokens);
    bool splitfuse = config_.model.plugin_params.plugin_type.find("splitfuse") != std::string::npos;
    if (splitfuse && schedule.template_type != "Mix" && !bad_.contains("ScheduleConfig.templateType")) {
      report_.Found("ScheduleConfig.templateType", '"' + schedule.template_type + '"',
                    "\"Mix\", because plugin_params asks for splitfuse");
    }
  }

  void AtMostIfBothGiven(const char* field, int value, const char* other, int other_value) {
    if (!BothGiven(field, other) || value <= other_value) return;
    report_.Found(field, std::to_string(value),
                  std::string("at most ") + other + ", " + std::to_string(other_value));
  }

  void AtLeastIfBothGiven(const char* field, int value, const char* other, int other_value,
                          const std::string& condition) {
    if (!BothGiven(field, other) || value >= other_value) return;
    report_.Found(field, std::to_string(value),
                  std::string("at least ") + other + ", " + std::to_string(other_value) + "," + condition);
  }

  // Sets `value` and, where the file had given it, says so.
  void Adjust(const char* field, int* value, int effective, const std::string& reason) {
    if (*value == effective) return;
    if (Present(field)) {
      report_.Adjusted(std::string(field) + " " + std::to_string(*value) + " takes effect as " +
                       std::to_string(effective) + ": " + reason);
    }
    *value = effective;
  }

  void AdjustLimits() {
    ModelDeployConfig& deploy = config_.deploy;
    ScheduleConfig& schedule = config_.schedule;
    Adjust("ModelDeployConfig.maxInputTokenLen", &deploy.max_input_token_len,
           std::min(deploy.max_input_token_len, deploy.max_seq_len - 1), "maxSeqLen - 1");
    const int64_t longest = int64_t{deploy.max_input_token_len} + schedule.max_iter_times;
    const int least_prefill_tokens = static_cast<int>(std::min<int64_t>(deploy.max_seq_len, longest));
    Adjust("ScheduleConfig.maxPrefillTokens", &schedule.max_prefill_tokens,
           std::max(schedule.max_prefill_tokens, least_prefill_tokens),
           "min(maxSeqLen, maxInputTokenLen + maxIterTimes)");
    Adjust("ScheduleConfig.maxBatchSize", &schedule.max_batch_size,
           std::min(schedule.max_batch_size, schedule.max_prefill_tokens), "maxPrefillTokens");
    if (schedule.max_prefill_batch_size == 0) schedule.max_prefill_batch_size = schedule.max_batch_size;
    Adjust("ScheduleConfig.maxPrefillBatchSize", &schedule.max_prefill_batch_size,
           std::min(schedule.max_prefill_batch_size, schedule.max_batch_size), "maxBatchSize");
    if (schedule.max_n == 0) schedule.max_n = std::min(128, schedule.max_batch_size);
    Adjust("ScheduleConfig.maxN", &schedule.max_n, std::min(schedule.max_n, schedule.max_batch_size),
           "maxBatchSize");
  }

  static std::string Count(size_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
  }

  const PresentFields& present_;
  ServeConfig& config_;
  ConfigReport& report_;
  PresentFields bad_;
};

}  // namespace

void CheckAcrossFields(const PresentFields& present, ServeConfig* config, ConfigReport* report) {
  CrossChecker(present, config, report).Run();
}

}  // namespace phalanx
