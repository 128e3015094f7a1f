#include "serve/api/response_stream.h"

namespace phalanx {

ResponseStream::ResponseStream(std::shared_ptr<const Tokenizer> tokenizer,
                               std::shared_ptr<const StopStrings> stops, Options options)
    : detokenizer_(std::move(tokenizer), options.skip_special_tokens),
      stops_(std::move(stops)),
      matcher_(stops_),
      options_(options) {}

std::optional<size_t> ResponseStream::Match(std::string_view piece, std::string* out) {
  const std::optional<size_t> stop = matcher_.Push(piece, out);
  if (stop && options_.include_stop_string) out->append(stops_->string(*stop));
  return stop;
}

std::optional<size_t> ResponseStream::Push(int32_t token, bool is_stop_token, std::string* out) {
  if (is_stop_token && !options_.include_stop_string) return std::nullopt;
  return Match(detokenizer_.Push(token), out);
}

std::optional<size_t> ResponseStream::Finish(std::string* out) {
  const std::optional<size_t> stop = Match(detokenizer_.Flush(), out);
  if (!stop) matcher_.Finish(out);
  return stop;
}

}  // namespace phalanx
