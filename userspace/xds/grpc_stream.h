#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "io/loop.h"
#include "model/config_source.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::xds {

// One bidirectional gRPC call to a service behind a cluster: from its start to its end, as often as wanted, one at a
// time. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
class GrpcStream final : private ext::HttpTry::Callbacks, private http::StreamReceiver {
 public:
  class Callbacks {
   public:
    // So much is there of the `left` bytes of a message. How many of these, from the beginning, are done with: they are
    // not given again, here or in on_message. The rest follows, or on_closed, or our close().
    virtual size_t on_part(std::string_view begun, size_t left) { return 0; }
    virtual void on_open() = 0;  // send() may be called; the peer need not have answered yet
    // The message is all there: what on_part left of it. An error ends the call: it is reset, on_closed follows.
    virtual Status on_message(std::string_view bytes) = 0;
    // The call ended, or could not begin. `status`: of gRPC (14: UNAVAILABLE). Not for our own close().
    virtual void on_closed(int64_t status, std::string_view why) = 0;

   protected:
    ~Callbacks() = default;
  };

  // `path`: "/package.Service/Method".
  GrpcStream(io::Loop& loop, ext::ClusterManager& clusters, const model::GrpcService& service,
             std::string_view path, Callbacks& callbacks);
  ~GrpcStream();
  GrpcStream(const GrpcStream&) = delete;

  // Not while one is under way. The outcome never comes from inside.
  void start();
  bool open() const { return stream_ != nullptr; }
  void send(std::string_view message, std::initializer_list<std::string_view> rest = {});  // one, in parts
  void close();  // RST_STREAM(CANCEL), or leaves the queue

 private:
  static constexpr size_t kPrefix = 5;  // compressed flag, length
  void on_ready(http::Stream& stream) override;
  void on_failure(ext::Upstream::Failure failure, std::string_view reason) override;
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void on_data(Buffer& data, bool end_stream) override;
  void on_trailers(http::HeaderMapPtr trailers) override;
  void on_reset(http::ResetReason reason, std::string_view details) override;
  void end(const http::HeaderMap* trailers);
  void closed(int64_t status, std::string why);
  bool take(std::string_view bytes);  // false: the call is over
  // How many of these, which go on where the last ones were done with; nothing: the call is over.
  std::optional<size_t> take_messages(std::string_view bytes);
  bool take_prefix(std::string_view bytes, size_t& at);
  void begin();
  http::HeaderMapPtr make_request() const;
  static void begin_now(io::TurnEnd& hook);

  io::Loop& loop_;
  ext::ClusterManager& clusters_;
  const model::GrpcService& service_;
  const std::string path_;
  Callbacks& callbacks_;
  const uint64_t message_max_;
  io::TurnEnd begin_;
  std::shared_ptr<ext::HttpCluster> cluster_;  // of the call under way
  http::HeaderMapPtr request_;  // until it is sent
  std::unique_ptr<ext::HttpTry> try_;
  http::Stream* stream_ = nullptr;
  http::HeaderMapPtr headers_;
  uint16_t http_status_ = 0;
  std::string in_;  // come, and not done with
  // Bytes of the message that come next, with in_; nothing: its prefix is not all there yet.
  std::optional<uint64_t> left_;
};

}  // namespace sluice::xds
