#pragma once

#include <memory>
#include <string_view>

#include "core/buffer.h"
#include "http/codec.h"
#include "http/header_map.h"
#include "io/loop.h"
#include "io/timers.h"
#include "sluice/ext/http_upstream.h"
#include "sluice/ext/stream_info.h"

namespace sluice::extensions {

// A request that the proxy makes itself, known as a whole when it begins; the body of the answer is dropped. One try, no
// route (Envoy: AsyncClient and its AsyncRequest). Made with `new`; it frees itself when it is over.
class AsyncRequest : public io::Deferred, private ext::HttpTry::Callbacks, private http::StreamReceiver {
 public:
  struct Message {
    http::HeaderMapPtr headers;
    Buffer body;
    http::HeaderMapPtr trailers = nullptr;  // null: none
  };
  // Once. `timeout`: for the whole answer; 0: none. It may be over, and gone, at the end of this turn of the loop.
  void start(const ext::Upstream::Origin& origin, Duration timeout);

 protected:
  AsyncRequest(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, Message&& message);

  // One of the two, once. The try is still there.
  virtual void on_complete() = 0;  // the answer is there, whatever its status
  // It has not come, or broke off behind its head. `status`: what the proxy would answer in its place; `reason`: of the
  // transport, may be "".
  virtual void on_broken(uint16_t status, ext::ResponseFlag flag, std::string_view reason) = 0;

  uint16_t status() const { return status_; }  // of the answer; 0: its head has not come
  const ext::UpstreamHost* host() const { return try_ ? try_->host() : nullptr; }  // null: nobody was chosen
  Duration age() const { return loop_.now() - started_; }
  void charge(uint16_t status);  // in the cluster's statistics, as a request that came from inside

  const std::shared_ptr<ext::HttpCluster> cluster_;

 private:
  void on_ready(http::Stream& stream) final;
  void on_failure(ext::Upstream::Failure failure, std::string_view reason) final;
  void on_headers(http::HeaderMapPtr headers, bool end_stream) final;
  void on_data(Buffer& data, bool end_stream) final;
  void on_trailers(http::HeaderMapPtr trailers) final;
  void on_reset(http::ResetReason reason, std::string_view details) final;
  static void on_timeout(io::Timer& timer);
  template <typename Tell>
  void end(Tell tell);
  void complete();
  void fail(uint16_t status, ext::ResponseFlag flag, std::string_view reason);

  io::Loop& loop_;
  Message message_;
  std::unique_ptr<ext::HttpTry> try_;
  io::Timer timer_;
  const MonotonicTime started_;
  uint16_t status_ = 0;
  bool over_ = false;
};

// As from Envoy's AsyncClient: an internal request, and the proxy, whose address this is, makes it.
void mark_internal(http::HeaderMap& request, std::string_view own_address);

}  // namespace sluice::extensions
