// The packed segment holds every tensor once, 64-byte aligned, in the order in which a step reads them. Packing is cut into tasks
// of about kTaskBytes: a range of panels of one matrix, or one vector. A task writes only its own bytes, so the ranks
// of a machine can run any of them at the same time.
#include "compute/weights/weight_store.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/log.h"
#include "compute/kernels/half.h"
#include "compute/weights/checkpoint.h"
#include "compute/weights/tensor_names.h"

namespace phalanx {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kTaskBytes = size_t{2} << 20;

struct PlannedTensor {
  TensorSpec spec;
  const CheckpointTensor* from = nullptr;
  PackedTensor packed;
};

struct PackTask {
  size_t tensor = 0;
  int64_t panel_begin = 0, panel_end = 0;  // of a matrix
};

// Row of the checkpoint that becomes row `n`: within each head the first rope.dim rows alternate between the halves.
int64_t SourceRow(const TensorSpec& spec, int rope_dim, int64_t n) {
  if (spec.heads == 0) return n;
  const int64_t head_rows = spec.n / spec.heads, half = rope_dim / 2;
  const int64_t head = n / head_rows, i = n % head_rows;
  if (i >= rope_dim) return n;
  return head * head_rows + (i < half ? 2 * i : 2 * (i - half) + 1);
}

struct RowSource {
  const TensorSpec* spec;
  const std::byte* data;
  size_t row_bytes;
  int rope_dim;
};
const std::byte* RowBytesAt(const void* context, int64_t n) {
  const RowSource& source = *static_cast<const RowSource*>(context);
  return source.data + static_cast<size_t>(SourceRow(*source.spec, source.rope_dim, n)) * source.row_bytes;
}

float ElementAsFloat(const std::byte* data, WeightFormat format, int64_t i) {
  if (format == WeightFormat::kF32) {
    float value;
    std::memcpy(&value, data + 4 * i, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data + 2 * i, 2);
  if (format == WeightFormat::kF16) return HalfToFloat(bits);
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

// The largest of 8, 4, 2, 1 that cuts `units` into equal parts whose widths are whole groups.
int Segments(int64_t units, int64_t unit_width, int group) {
  for (int s : {8, 4, 2}) {
    if (units % s == 0 && units / s * unit_width % group == 0) return s;
  }
  return 1;
}

std::string Place(const CheckpointTensor& tensor) {
  return std::string(tensor.file) + ": tensor '" + tensor.name + "'";
}

// What the checkpoint gives for `spec`, or why it does not do.
Result<const CheckpointTensor*> FindFor(const TensorSpec& spec, const Checkpoint& checkpoint) {
  const CheckpointTensor* found = checkpoint.Find(spec.checkpoint_name);
  if (found == nullptr)
    return InvalidArgument(checkpoint.path() + ": tensor '" + spec.checkpoint_name + "' is missing");
  const std::vector<int64_t> shape =
      spec.k == 0 ? std::vector<int64_t>{spec.n} : std::vector<int64_t>{spec.n, spec.k};
  if (found->shape != shape) {
    return InvalidArgument(Place(*found) + " has shape " + ShapeString(found->shape) + " instead of " +
                           ShapeString(shape));
  }
  const bool readable = found->format.has_value() && (spec.k > 0 || !IsBlockFormat(*found->format));
  if (!readable) {
    return Unimplemented(Place(*found) + " has type " + found->type_name + "; readable: F32, F16, BF16" +
                         (spec.k > 0 ? ", and in GGUF files Q8_0, Q4_0, Q4_1" : ""));
  }
  return found;
}

Status RefuseLeftOvers(const Checkpoint& checkpoint, const ModelConfig& config,
                       const std::vector<PlannedTensor>& plan) {
  std::vector<const CheckpointTensor*> used;
  for (const PlannedTensor& tensor : plan) used.push_back(tensor.from);
  std::sort(used.begin(), used.end());
  std::string names;
  int count = 0;
  for (const CheckpointTensor& tensor : checkpoint.tensors()) {
    if (std::binary_search(used.begin(), used.end(), &tensor)) continue;
    if (IsIgnoredTensor(tensor.name, config, checkpoint.source())) continue;
    if (++count <= 4) names += (count > 1 ? ", '" : "'") + tensor.name + "'";
  }
  if (count == 0) return Status::Ok();
  return InvalidArgument(checkpoint.path() + ": " + std::to_string(count) + " tensors that a " +
                         config.architecture + " model of this configuration does not have: " + names +
                         (count > 4 ? ", ..." : ""));
}

}  // namespace

struct WeightStore::State {
  std::unique_ptr<Checkpoint> checkpoint;
  ModelConfig config;
  std::vector<PlannedTensor> plan;
  std::map<std::string, size_t, std::less<>> by_name;
  std::vector<PackTask> tasks;
  size_t bytes = 0;

  Status Plan();
  void Place(PlannedTensor& tensor);
  void SetSegments();
  void CutTasks();
};

Status WeightStore::State::Plan() {
  if (!config.tied_embeddings && checkpoint->Find("lm_head.weight") == nullptr &&
      checkpoint->source() == CheckpointSource::kHuggingFace) {
    LogWarning("{}: no lm_head.weight, though embeddings are not tied; the embedding is used",
               checkpoint->path());
    config.tied_embeddings = true;
  }
  for (TensorSpec& spec : DenseDecoderTensors(config, checkpoint->source())) {
    PlannedTensor tensor;
    ASSIGN_OR_RETURN(tensor.from, FindFor(spec, *checkpoint));
    tensor.spec = std::move(spec);
    Place(tensor);
    by_name.emplace(tensor.spec.name, plan.size());
    plan.push_back(std::move(tensor));
  }
  RETURN_IF_ERROR(RefuseLeftOvers(*checkpoint, config, plan));
  SetSegments();
  CutTasks();
  return Status::Ok();
}

void WeightStore::State::Place(PlannedTensor& tensor) {
  const TensorSpec& spec = tensor.spec;
  PackedTensor& packed = tensor.packed;
  packed.n = spec.n;
  packed.k = spec.k;
  packed.format = spec.k == 0 ? WeightFormat::kF32 : *tensor.from->format;
  packed.offset = bytes;
  const size_t size =
      spec.k == 0 ? static_cast<size_t>(spec.n) * sizeof(float) : PackedBytes(packed.format, spec.n, spec.k);
  bytes += (size + kAlignment - 1) / kAlignment * kAlignment;
}

void WeightStore::State::SetSegments() {
  int output_group = 1, down_group = 1;
  for (const PlannedTensor& tensor : plan) {
    if (tensor.spec.k == 0) continue;
    if (tensor.spec.name.ends_with(".o"))
      output_group = std::max(output_group, WeightGroup(tensor.packed.format));
    if (tensor.spec.name.ends_with(".down"))
      down_group = std::max(down_group, WeightGroup(tensor.packed.format));
  }
  config.output_segments = Segments(config.num_heads, config.head_dim, output_group);
  config.down_segments = Segments(config.intermediate_size, 1, down_group);
}

void WeightStore::State::CutTasks() {
  for (size_t i = 0; i < plan.size(); ++i) {
    const PackedTensor& packed = plan[i].packed;
    if (packed.k == 0) {
      tasks.push_back({i, 0, 0});
      continue;
    }
    const int64_t panels = (packed.n + kPanelColumns - 1) / kPanelColumns;
    const int64_t step =
        std::max<int64_t>(1, static_cast<int64_t>(kTaskBytes / PanelBytes(packed.format, packed.k)));
    for (int64_t begin = 0; begin < panels; begin += step)
      tasks.push_back({i, begin, std::min(begin + step, panels)});
  }
}

WeightStore::WeightStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
WeightStore::~WeightStore() = default;

Result<std::unique_ptr<WeightStore>> WeightStore::Open(const std::string& path) {
  auto state = std::make_unique<State>();
  ASSIGN_OR_RETURN(state->checkpoint, OpenCheckpoint(path));
  ASSIGN_OR_RETURN(state->config, state->checkpoint->ReadConfig());
  RETURN_IF_ERROR(state->Plan());
  return std::unique_ptr<WeightStore>(new WeightStore(std::move(state)));
}

const ModelConfig& WeightStore::config() const {
  return state_->config;
}
size_t WeightStore::packed_bytes() const {
  return state_->bytes;
}
int WeightStore::num_tasks() const {
  return static_cast<int>(state_->tasks.size());
}

Status WeightStore::RunTask(int task, std::byte* segment) const {
  CHECK(task >= 0 && task < num_tasks());
  const PackTask& work = state_->tasks[static_cast<size_t>(task)];
  const PlannedTensor& tensor = state_->plan[work.tensor];
  const int rope_dim = state_->config.rope.dim;
  std::byte* out = segment + tensor.packed.offset;
  if (tensor.packed.k == 0) {
    for (int64_t i = 0; i < tensor.packed.n; ++i) {
      const float value =
          ElementAsFloat(tensor.from->data, *tensor.from->format, SourceRow(tensor.spec, rope_dim, i));
      std::memcpy(out + i * static_cast<int64_t>(sizeof(float)), &value, sizeof(float));
    }
    return Status::Ok();
  }
  const RowSource source{&tensor.spec, tensor.from->data,
                         CheckpointRowBytes(tensor.packed.format, tensor.packed.k), rope_dim};
  PackPanels(tensor.packed.format, RowBytesAt, &source, tensor.packed.n, tensor.packed.k, work.panel_begin,
             work.panel_end, out);
  return Status::Ok();
}

const PackedTensor* WeightStore::Find(std::string_view name) const {
  auto it = state_->by_name.find(name);
  return it == state_->by_name.end() ? nullptr : &state_->plan[it->second].packed;
}

PackedMatrix WeightStore::Matrix(std::string_view name, const std::byte* segment) const {
  const PackedTensor* tensor = Find(name);
  CHECK(tensor != nullptr && tensor->k > 0);
  return {segment + tensor->offset, tensor->format, tensor->n, tensor->k};
}

}  // namespace phalanx
