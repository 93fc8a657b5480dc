#include "xds/grpc_stream.h"

#include <algorithm>

#include "core/log.h"
#include "http/grpc.h"
#include "http/status.h"

namespace sluice::xds {

using http::Name;

constexpr int64_t kUnknown = 2, kResourceExhausted = 8, kInternal = 13, kUnavailable = 14;
// Where the configuration sets no limit: no push is as large, and a length is not taken on trust.
constexpr uint64_t kMessageMax = 256u << 20;
constexpr uint64_t kReserveMax = 8u << 20;
constexpr size_t kPiece = 1u << 10;  // more than most resources have
constexpr size_t kKeep = 1u << 16;  // of memory between messages

GrpcStream::GrpcStream(io::Loop& loop, ext::ClusterManager& clusters, const model::GrpcService& service,
                       std::string_view path, Callbacks& callbacks)
    : loop_(loop),
      clusters_(clusters),
      service_(service),
      path_(path),
      callbacks_(callbacks),
      message_max_(service.max_receive_message_length ? service.max_receive_message_length : kMessageMax),
      begin_(&begin_now, this) {}

GrpcStream::~GrpcStream() {
  close();
}

void GrpcStream::start() {
  loop_.schedule(begin_);
}

void GrpcStream::begin_now(io::TurnEnd& hook) {
  hook.owner<GrpcStream>()->begin();
}

void GrpcStream::begin() {
  if (try_) return;
  ext::Cluster* cluster = clusters_.find(service_.cluster);
  ext::HttpCluster* http = cluster ? cluster->http() : nullptr;
  if (http == nullptr) {
    closed(kUnavailable, "there is no cluster '" + service_.cluster + "'");
    return;
  }
  cluster_ = http->hold();
  http_status_ = 0;
  request_ = make_request();
  try_ = http->make_try({}, {.downstream_protocol = http::Protocol::http2, .request = request_.get()}, *this,
                        *this);
  try_->start();
}

http::HeaderMapPtr GrpcStream::make_request() const {
  http::HeaderMapPtr headers = http::make_headers();
  headers->add_static(Name::method, "POST");
  headers->add(Name::authority, service_.authority.empty() ? service_.cluster : service_.authority);
  headers->add(Name::path, path_);
  headers->add(std::string_view("te"), "trailers");
  headers->add(std::string_view("content-type"), "application/grpc");
  for (const auto& [name, value] : service_.initial_metadata) headers->add(std::string_view(name), value);
  return headers;
}

void GrpcStream::on_ready(http::Stream& stream) {
  if (stream.protocol() != http::Protocol::http2) {
    try_.reset();
    closed(kInternal,
           "cluster '" + service_.cluster +
               "' speaks HTTP/1, gRPC needs HTTP/2: set explicit_http_config.http2_protocol_options in its "
               "typed_extension_protocol_options");
    return;
  }
  stream_ = &stream;
  request_->add_static(Name::scheme, try_->connection().secure() ? "https" : "http");
  stream.send_headers(*request_, false);
  request_.reset();
  callbacks_.on_open();
}

void GrpcStream::send(std::string_view message, std::initializer_list<std::string_view> rest) {
  if (!stream_) return;
  size_t size = message.size();
  for (const std::string_view part : rest) size += part.size();
  const auto n = static_cast<uint32_t>(size);
  const char prefix[kPrefix] = {0, static_cast<char>(n >> 24), static_cast<char>(n >> 16),
                                static_cast<char>(n >> 8), static_cast<char>(n)};
  Buffer out;
  out.append(loop_.blocks(), {prefix, kPrefix});
  out.append(loop_.blocks(), message);
  for (const std::string_view part : rest) out.append(loop_.blocks(), part);
  stream_->send_data(std::move(out), false);
}

void GrpcStream::close() {
  stream_ = nullptr;
  try_.reset();
  request_.reset();
  cluster_.reset();
  headers_.reset();
  in_.clear();
  in_.shrink_to_fit();
  left_.reset();
}

void GrpcStream::closed(int64_t status, std::string why) {
  close();
  callbacks_.on_closed(status, why);
}

void GrpcStream::on_failure(ext::Upstream::Failure, std::string_view reason) {
  closed(kUnavailable, "no connection to cluster '" + service_.cluster + "': " + std::string(reason));
}

void GrpcStream::on_headers(http::HeaderMapPtr headers, bool end_stream) {
  http_status_ = http::status_of(*headers);
  headers_ = std::move(headers);
  if (end_stream) return end(headers_.get());
  if (http_status_ != 200)
    closed(http::grpc_status_of_http(http_status_), "HTTP status " + std::to_string(http_status_));
  else if (!http::is_grpc_content_type(headers_->get("content-type")))
    closed(kUnknown, "the answer is no gRPC: content-type '" +
                         std::string(headers_->get("content-type").substr(0, 100)) + "'");
}

void GrpcStream::on_data(Buffer& data, bool end_stream) {
  for (size_t i = 0; i < data.chunks(); ++i) {
    if (!take(data.chunk(i).view())) return;
  }
  data.clear();
  if (in_.empty() && in_.capacity() > kKeep) in_.shrink_to_fit();
  if (end_stream) end(nullptr);
}

// What comes is read where it lies: only what its reader leaves is copied, and goes on with as little as may end it.
bool GrpcStream::take(std::string_view bytes) {
  while (!bytes.empty()) {
    if (in_.empty()) {
      const auto done = take_messages(bytes);
      if (!done) return false;
      in_ = bytes.substr(*done);
      return true;
    }
    const size_t held = in_.size();
    const std::string_view more = bytes.substr(0, std::max(held, kPiece));
    in_ += more;
    const auto done = take_messages(in_);
    if (!done) return false;
    if (*done < held) {
      in_.erase(0, *done);
      bytes.remove_prefix(more.size());
      // Something large. A push of megabytes is not copied over and over while it comes; beyond that a length is not
      // taken on trust.
      if (*done == 0 && left_ && held > kKeep) in_.reserve(std::min<uint64_t>(*left_, kReserveMax));
    } else {
      in_.clear();
      bytes.remove_prefix(*done - held);
    }
  }
  return true;
}

std::optional<size_t> GrpcStream::take_messages(std::string_view bytes) {
  size_t at = 0;
  while (take_prefix(bytes, at)) {
    const std::string_view there = bytes.substr(at, *left_);
    if (there.size() < *left_) {
      const size_t done = callbacks_.on_part(there, *left_);
      at += done;
      *left_ -= done;
      break;
    }
    const Status taken = callbacks_.on_message(there);
    if (!try_) return std::nullopt;  // closed in there
    if (!taken) {
      closed(kInternal, taken.error().message);
      return std::nullopt;
    }
    at += *left_;
    left_.reset();
  }
  if (!try_) return std::nullopt;
  return at;
}

// Whether it is known how long the message at `at` is; a prefix is passed over. Closes where it is wrong.
bool GrpcStream::take_prefix(std::string_view bytes, size_t& at) {
  if (left_) return true;
  if (bytes.size() - at < kPrefix) return false;
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data() + at);
  const uint64_t length = uint64_t{p[1]} << 24 | p[2] << 16 | p[3] << 8 | p[4];
  if (p[0] != 0) {
    closed(kInternal, "a message says that it is compressed, which was not offered");
    return false;
  }
  if (length > message_max_) {
    closed(kResourceExhausted, "a message of " + std::to_string(length) + " bytes is larger than " +
                                   std::to_string(message_max_) +
                                   " (max_receive_message_length, or the limit without it)");
    return false;
  }
  at += kPrefix;
  left_ = length;
  return true;
}

void GrpcStream::on_trailers(http::HeaderMapPtr trailers) {
  end(trailers.get());
}

void GrpcStream::end(const http::HeaderMap* trailers) {
  const auto status = http::grpc_status(trailers, headers_.get(), http_status_, true);
  std::string text;
  if (trailers != nullptr) text = std::string(trailers->get("grpc-message"));
  closed(status.value_or(kUnknown), std::move(text));
}

void GrpcStream::on_reset(http::ResetReason reason, std::string_view details) {
  std::string why(http::to_string(reason));
  if (!details.empty()) why += ", " + std::string(details);
  closed(kUnavailable, std::move(why));
}

}  // namespace sluice::xds
