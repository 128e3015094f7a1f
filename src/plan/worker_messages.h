#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "plan/step_channel.h"

namespace phalanx {

// The talk between the daemon and one worker while the worker starts, as JSON over their control socket:
//
//   daemon -> worker   WorkerInit (with the step channel's descriptor)
//   worker -> daemon   ModelFacts                         it has read the checkpoint's headers
//   daemon -> worker   WorkerMemory (with descriptors)    when all workers have said so
//   worker -> daemon   PackProgress ..., kPacked          its share of the weights is in place
//   daemon -> worker   kBuild                             when all shares are
//   worker -> daemon   WorkerReady                        it waits for plans
//
// A worker that fails says WorkerError instead, once, and ends. Later the daemon may say kFence: leave the
// exchange with the other ranks of the domain, one of them is lost. The end of service is a fenced step
// channel.
enum class MessageKind { kInit, kFacts, kMemory, kProgress, kPacked, kBuild, kReady, kError, kFence };

// Who the worker is and what it shall run.
struct WorkerInit {
  int32_t rank = 0;
  int32_t tp = 1;
  int32_t dp = 1;
  int32_t domain = 0;  // of the step channel
  int32_t rank_in_domain = 0;
  int32_t group_rank = 0;         // in its attention-tp group
  std::string model_path;         // as ResolveModelPath gives it
  std::string kernel_table;       // empty: the best
  std::string kv_format = "f16";  // "f32" or "f16"
  int32_t block_size = 128;
  std::vector<int> cpus;  // one per thread
  // Of the weights' packing tasks it does those with number % pack_count == pack_index.
  int32_t pack_index = 0;
  int32_t pack_count = 1;
  int64_t exchange_timeout_ms = 60000;  // longest wait for the other ranks of the group
  std::string log_level = "info";
  StepChannelShape channel;
};

// What a worker learns from the checkpoint's headers. The same on every rank but for the rank's own sizes.
struct ModelFacts {
  std::string architecture;
  std::string dtype;
  std::string kernel_table;
  int32_t vocab_size = 0;     // tokens that may be sampled
  int64_t max_model_len = 0;  // context length
  int32_t num_layers = 0;
  int64_t packed_bytes = 0;  // of the weights' segment
  int32_t num_pack_tasks = 0;
  int64_t kv_block_bytes = 0;  // of one block in this rank's plane
  int64_t exchange_bytes = 0;  // of the group's exchange; 0: none is needed
};

// The memory that the daemon made for it. Descriptors in this order: weights, key/value pool, exchange (if
// its size is not 0).
struct WorkerMemory {
  int64_t num_blocks = 0;
  int64_t plane_offset = 0;     // of this rank's plane in the pool
  int64_t first_own_block = 0;  // of its group's share
};

struct PackProgress {
  int32_t tasks_done = 0;
};

struct WorkerReady {
  int32_t rank = 0;
  int32_t pid = 0;
  std::vector<int> cpus;  // that its threads may really run on, all together
  int32_t num_threads = 1;
  std::string weight_pages;  // kind of pages that the weights have
  int64_t huge_bytes = 0;    // of the weights that lie in huge pages
};

struct WorkerError {
  Status status;
};

std::string ToMessage(const WorkerInit& init);
std::string ToMessage(const ModelFacts& facts);
std::string ToMessage(const WorkerMemory& memory);
std::string ToMessage(const PackProgress& progress);
std::string ToMessage(const WorkerReady& ready);
std::string ToMessage(const WorkerError& error);
// kPacked, kBuild, kFence: nothing but the kind.
std::string ToMessage(MessageKind kind);

// InvalidArgument if the text is no message of ours.
Result<MessageKind> KindOfMessage(std::string_view text);
// Reads a message of the struct's kind; InvalidArgument naming what is missing or wrong.
Status FromMessage(std::string_view text, WorkerInit* init);
Status FromMessage(std::string_view text, ModelFacts* facts);
Status FromMessage(std::string_view text, WorkerMemory* memory);
Status FromMessage(std::string_view text, PackProgress* progress);
Status FromMessage(std::string_view text, WorkerReady* ready);
Status FromMessage(std::string_view text, WorkerError* error);

}  // namespace phalanx
