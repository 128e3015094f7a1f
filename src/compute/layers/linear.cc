#include "compute/layers/linear.h"

#include <algorithm>

namespace phalanx {

Slice SliceOf(int64_t size, int parts, int part) {
  CHECK(size % parts == 0);
  const int64_t width = size / parts;
  return {width * part, width * (part + 1)};
}

const float* FindVector(const WeightStore& store, const std::byte* weights, const std::string& name) {
  const PackedTensor* tensor = store.Find(name);
  return tensor == nullptr ? nullptr : reinterpret_cast<const float*>(weights + tensor->offset);
}

ColumnParallel::ColumnParallel(const WeightStore& store, const std::byte* weights, const std::string& name,
                               Slice slice)
    : w_(store.Matrix(name, weights)), bias_(FindVector(store, weights, name + ".bias")), slice_(slice) {
  CHECK(slice.begin >= 0 && slice.begin <= slice.end && slice.end <= w_.n);
}

void ColumnParallel::ForwardPanels(const KernelTable& kernels, const Activations& x, int64_t panel_begin,
                                   int64_t panel_end, float* out, int64_t out_stride) const {
  MatMulArgs args;
  args.w = w_;
  args.rows = x.rows();
  args.x = x.Row(0);
  args.x_stride = x.width();
  args.xq = x.quantized();
  args.n_begin = std::max(panel_begin * kPanelColumns, slice_.begin);
  args.n_end = std::min(panel_end * kPanelColumns, slice_.end);
  args.k_begin = 0;
  args.k_end = w_.k;
  if (args.n_begin >= args.n_end) return;
  args.out = out + (args.n_begin - slice_.begin);
  args.out_stride = out_stride;
  kernels.mat_mul(args);
  if (bias_ == nullptr) return;
  for (int64_t row = 0; row < args.rows; ++row) {
    kernels.add(bias_ + args.n_begin, args.n_end - args.n_begin, args.out + row * out_stride);
  }
}

void ForwardColumns(const LayerContext& context, const Activations& x, std::span<const ColumnTask> tasks) {
  if (x.rows() == 0) return;
  int64_t total_bytes = 0;
  for (const ColumnTask& task : tasks) {
    total_bytes += (task.linear->end_panel() - task.linear->first_panel()) *
                   static_cast<int64_t>(task.linear->panel_bytes());
  }
  const int threads = context.threads->size();
  context.threads->Run([&](int thread) {
    // The thread computes the panels whose first byte lies in its part of all tasks' bytes laid end to end.
    const int64_t begin = total_bytes * thread / threads, end = total_bytes * (thread + 1) / threads;
    int64_t task_begin = 0;
    for (const ColumnTask& task : tasks) {
      const ColumnParallel& linear = *task.linear;
      const int64_t bytes = static_cast<int64_t>(linear.panel_bytes());
      const int64_t panels = linear.end_panel() - linear.first_panel();
      const auto panel_at = [&](int64_t at) {
        return std::clamp<int64_t>((at - task_begin + bytes - 1) / bytes, 0, panels);
      };
      const int64_t first = begin <= task_begin ? 0 : panel_at(begin),
                    last = end <= task_begin ? 0 : panel_at(end);
      if (first < last) {
        linear.ForwardPanels(*context.kernels, x, linear.first_panel() + first, linear.first_panel() + last,
                             task.out, task.out_stride);
      }
      task_begin += panels * bytes;
    }
  });
}

RowParallel::RowParallel(const WeightStore& store, const std::byte* weights, const std::string& name,
                         int segments, const LayerContext& context)
    : w_(store.Matrix(name, weights)), bias_(FindVector(store, weights, name + ".bias")) {
  CHECK(segments % context.tp_size() == 0);
  slice_ = SliceOf(w_.k, context.tp_size(), context.tp_rank());
  segments_ = segments / context.tp_size();
}

Status RowParallel::Forward(const LayerContext& context, const Activations& x, float* out) const {
  const int64_t rows = x.rows();
  if (rows == 0) return Status::Ok();
  const bool alone = context.tp_size() == 1;
  context.threads->ParallelFor(static_cast<long>(w_.n), kPanelColumns, [&](long begin, long end, int) {
    MatMulArgs args;
    args.w = w_;
    args.rows = rows;
    args.x = x.Row(0);
    args.x_stride = x.width();
    args.xq = x.quantized();
    args.n_begin = begin;
    args.n_end = end;
    args.k_begin = slice_.begin;
    args.k_end = slice_.end;
    args.segments = segments_;
    args.out = out + begin;
    args.out_stride = w_.n;
    context.kernels->mat_mul(args);
    if (bias_ == nullptr || !alone) return;
    for (int64_t row = 0; row < rows; ++row)
      context.kernels->add(bias_ + begin, end - begin, args.out + row * w_.n);
  });
  if (alone) return Status::Ok();
  RETURN_IF_ERROR(context.tp->AllReduce({out, static_cast<size_t>(rows * w_.n)}));
  if (bias_ == nullptr) return Status::Ok();
  context.ForRows(rows, w_.n, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) context.kernels->add(bias_, w_.n, out + row * w_.n);
  });
  return Status::Ok();
}

}  // namespace phalanx
