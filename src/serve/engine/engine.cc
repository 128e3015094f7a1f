#include "serve/engine/engine.h"

#include <utility>

#include "serve/engine/engine_loop.h"

namespace phalanx {

Engine::Engine(const EngineOptions& options, Executor* executor, const Clock* clock)
    : loop_(std::make_unique<Loop>(options, executor, clock)) {}

Engine::~Engine() {
  loop_->Stop();
}

void Engine::Start() {
  loop_->Start();
}

void Engine::Drain(std::chrono::milliseconds deadline) {
  loop_->Drain(deadline);
}

void Engine::Stop() {
  loop_->Stop();
}

Result<RequestId> Engine::Submit(Request request, OutputCallback on_output) {
  return loop_->Submit(std::move(request), std::move(on_output));
}

void Engine::Abort(RequestId request_id) {
  loop_->Command(EngineCommand::Kind::kAbort, request_id, 0);
}

void Engine::FinishSequence(RequestId request_id, int32_t index) {
  loop_->Command(EngineCommand::Kind::kFinishSequence, request_id, index);
}

EngineStats Engine::Stats() const {
  return loop_->Stats();
}

Status Engine::Health() const {
  return loop_->Health();
}

const EngineOptions& Engine::options() const {
  return loop_->options();
}

}  // namespace phalanx
