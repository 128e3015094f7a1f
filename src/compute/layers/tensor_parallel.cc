#include "compute/layers/tensor_parallel.h"

namespace phalanx {
namespace {

bool Fits(const ModelConfig& config, int tp) {
  return tp > 0 && config.output_segments % tp == 0 && config.down_segments % tp == 0 &&
         config.num_heads % tp == 0 && (config.num_kv_heads % tp == 0 || tp % config.num_kv_heads == 0);
}

}  // namespace

Status CheckTensorParallel(const ModelConfig& config, int tp) {
  if (Fits(config, tp)) return Status::Ok();
  std::string sizes;
  for (int t : {1, 2, 4, 8}) {
    if (Fits(config, t)) sizes += (sizes.empty() ? "" : ", ") + std::to_string(t);
  }
  return InvalidArgument("tp " + std::to_string(tp) +
                         " does not fit the model: " + std::to_string(config.num_heads) +
                         " attention heads (sums in " + std::to_string(config.output_segments) + " parts), " +
                         std::to_string(config.num_kv_heads) + " key/value heads, intermediate size " +
                         std::to_string(config.intermediate_size) + " (" +
                         std::to_string(config.down_segments) + " parts); possible tp: " + sizes);
}

TensorParallelShard ShardOf(const ModelConfig& config, int tp, int rank) {
  CHECK(Fits(config, tp) && rank >= 0 && rank < tp);
  TensorParallelShard shard;
  shard.heads = SliceOf(config.num_heads, tp, rank);
  shard.intermediate = SliceOf(config.intermediate_size, tp, rank);
  if (config.num_kv_heads >= tp) {
    shard.kv_heads = SliceOf(config.num_kv_heads, tp, rank);
  } else {
    const int64_t head = int64_t{rank} * config.num_kv_heads / tp;
    shard.kv_heads = {head, head + 1};
  }
  return shard;
}

}  // namespace phalanx
