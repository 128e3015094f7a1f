#include "serve/http/exchange.h"

namespace phalanx {

Exchange::Exchange(std::function<void()> notify, size_t max_pending_bytes)
    : max_pending_bytes_(max_pending_bytes), notify_(std::move(notify)) {}

void Exchange::NotifyLocked() {
  if (notified_ || !notify_) return;
  notified_ = true;
  notify_();
}

void Exchange::Respond(HttpResponse response) {
  std::function<void()> forgotten;  // destroyed after the lock is free: it may own the writer's owner
  std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return;
  state_ = State::kResponded;
  head_ = std::move(response);
  forgotten.swap(on_cancel_);
  NotifyLocked();
}

void Exchange::Begin(HttpResponse head) {
  std::lock_guard lock(mutex_);
  if (state_ != State::kOpen) return;
  state_ = State::kStreaming;
  head_ = std::move(head);
  pending_ = std::move(head_.body);
  NotifyLocked();
}

void Exchange::Write(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming || cancelled_ || broken_ || !notify_) return;
  if (pending_.size() + bytes.size() > max_pending_bytes_) {
    broken_ = true;
    pending_ = std::string();
    notified_ = false;  // the connection hangs in a write and has not seen the last notice
  } else {
    pending_.append(bytes);
  }
  NotifyLocked();
}

void Exchange::End() {
  std::function<void()> forgotten;
  std::lock_guard lock(mutex_);
  if (state_ != State::kStreaming) return;
  state_ = State::kEnded;
  forgotten.swap(on_cancel_);
  NotifyLocked();
}

void Exchange::OnCancel(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (state_ == State::kResponded || state_ == State::kEnded) return;
    if (!cancelled_) {
      on_cancel_.swap(callback);
      return;
    }
  }
  callback();
}

Exchange::Ready Exchange::Take(std::string* bytes) {
  bytes->clear();
  Ready ready;
  std::lock_guard lock(mutex_);
  notified_ = false;
  ready.broken = broken_;
  ready.responded = state_ == State::kResponded;
  ready.ended = state_ == State::kEnded;
  if (state_ != State::kOpen && !head_taken_) {
    head_taken_ = true;
    ready.begun = !ready.responded;
    ready.head = std::move(head_);
  }
  pending_.swap(*bytes);
  return ready;
}

bool Exchange::broken() {
  std::lock_guard lock(mutex_);
  return broken_;
}

void Exchange::Cancel() {
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    cancelled_ = true;
    callback.swap(on_cancel_);
  }
  if (callback) callback();
}

void Exchange::Abandon() {
  std::lock_guard lock(mutex_);
  if (state_ == State::kOpen) {
    state_ = State::kResponded;
    head_ = {
        .status = 500, .content_type = "text/plain", .headers = {}, .body = "the request was not answered"};
  } else if (state_ == State::kStreaming) {
    state_ = State::kEnded;
    broken_ = true;
  }
  NotifyLocked();
}

void Exchange::Detach() {
  std::function<void()> forgotten;
  std::lock_guard lock(mutex_);
  notify_ = nullptr;
  forgotten.swap(on_cancel_);
}

}  // namespace phalanx
