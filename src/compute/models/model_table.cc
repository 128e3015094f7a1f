#include <string>

#include "compute/models/llama.h"
#include "compute/models/model.h"

namespace phalanx {
namespace {

struct Family {
  std::string_view architecture;  // ModelConfig::architecture
  Result<std::unique_ptr<Model>> (*build)(const WeightStore& store, const ModelContext& context);
};
constexpr Family kFamilies[] = {
    {"llama", BuildLlama},
    {"mistral", BuildLlama},
};

}  // namespace

Result<std::unique_ptr<Model>> BuildModel(const WeightStore& store, const ModelContext& context) {
  for (const Family& family : kFamilies) {
    if (family.architecture == store.config().architecture) return family.build(store, context);
  }
  return Unimplemented("architecture '" + store.config().architecture + "' has no model");
}

}  // namespace phalanx
