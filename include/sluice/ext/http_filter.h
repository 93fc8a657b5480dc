#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "core/buffer.h"
#include "core/random.h"
#include "core/stats.h"
#include "http/codec.h"
#include "http/header_map.h"
#include "io/loop.h"
#include "sluice/ext/connection.h"
#include "sluice/ext/stream_info.h"
#include "sluice/ext/upstream.h"

namespace sluice::model {
struct RouteMatch;
}

namespace sluice::ext {

// A filter's verdict on a message head.
enum class HeadersStatus : uint8_t {
  proceed,
  // Later filters wait for continue_request() (continue_response()). Body and trailers still come to this filter.
  stop,
  // The same, but body and trailers wait too: they are kept for when it goes on, reading pauses at the buffer limit.
  stop_all,
};

// A filter's verdict on a piece of the body.
enum class DataStatus : uint8_t {
  proceed,  // to the next filter (with a head that was stopped: that goes first)
  // The manager keeps it until the filter goes on. Beyond the buffer limit: 413 for a request, 500 for a response.
  stop_and_buffer,
  // The same, but beyond the limit the peer is not read any more instead.
  stop_and_watermark,
  stop_no_buffer,  // the filter has taken it
};

enum class TrailersStatus : uint8_t { proceed, stop };

// The configuration of one filter for a virtual host, route or weighted cluster (typed_per_filter_config).
class HttpRouteConfig {
 public:
  virtual ~HttpRouteConfig() = default;
};
using HttpRouteConfigPtr = std::shared_ptr<const HttpRouteConfig>;

struct LocalReply {
  uint16_t status = 500;
  std::string_view body =
      {};  // text/plain; for gRPC requests it becomes grpc-message of a trailers-only response
  std::string_view details = {};  // %RESPONSE_CODE_DETAILS%
  std::optional<uint32_t> grpc_status = std::nullopt;  // instead of the one that follows from `status`
  std::function<void(http::HeaderMap&)> modify = nullptr;  // the head, last
};

// What a filter may see and do. Lives as long as the filter. All of it is the worker's own: no locks. Calls that go on (continue_*, respond_*) run later filters
// before they return; send_local_reply, reset_stream and restart may end the stream, after which on_end follows as soon
// as no filter of it is being called any more.
//
// An upgrade (websocket) has one shape here whatever the protocol of downstream: HTTP/1's GET with `upgrade` and
// `connection: upgrade`, answered by 101. The connection manager makes that shape of HTTP/2's extended CONNECT (RFC 8441),
// and the router makes extended CONNECT of it for an HTTP/2 upstream. A plain CONNECT is one: :method CONNECT, 2xx.
//
// The request goes down the filters in the order of configuration, the response up in reverse. A filter may answer at
// any moment (send_local_reply): the answer goes up through the filters whose response side has not begun.
class HttpFilterContext {
 public:
  virtual StreamInfo& stream_info() = 0;  // .http is there
  virtual Connection& connection() = 0;  // downstream
  virtual io::Loop& loop() = 0;
  virtual Random& random() = 0;
  virtual ClusterManager& clusters() = 0;
  virtual Upstream::Origin origin() = 0;

  // Null: not (yet) there. Filters may change them until they are sent on.
  virtual http::HeaderMap* request_headers() = 0;
  virtual http::HeaderMap* request_trailers() = 0;
  virtual http::HeaderMap* response_headers() = 0;
  virtual http::HeaderMap* response_trailers() = 0;

  // The route of the request as it is now; null: none matches. Kept until somebody clears it.
  virtual const model::RouteMatch* route() = 0;
  virtual void clear_route_cache() = 0;
  // This filter's configuration of the most specific level that has one (weighted cluster, route, virtual host, route
  // configuration); null: none has. `each`: all levels, the least specific first.
  virtual const HttpRouteConfig* route_config() = 0;
  virtual void each_route_config(const std::function<void(const HttpRouteConfig&)>& f) = 0;

  // After a stop.
  virtual void continue_request() = 0;
  virtual void continue_response() = 0;
  // What the manager keeps for this filter (stop_and_buffer); a filter may change it before it goes on.
  virtual Buffer& buffered_request() = 0;
  virtual Buffer& buffered_response() = 0;
  // Lets so many bytes of buffered_response() go on to later filters, and the head before them; the filter stays stopped.
  virtual void release_response(size_t bytes) = 0;
  // Puts bytes behind what is buffered or, in on_*_trailers and on_*_headers with end_stream, behind the body.
  virtual void add_request_data(Buffer&& data) = 0;
  virtual void add_response_data(Buffer&& data) = 0;
  // Trailers where there were none; in on_*_data with end_stream.
  virtual http::HeaderMap& add_request_trailers() = 0;
  virtual http::HeaderMap& add_response_trailers() = 0;
  virtual uint32_t buffer_limit() const = 0;  // bytes; 0: none
  virtual void set_buffer_limit(uint32_t bytes) = 0;

  // Answers instead of what is behind this filter. If a response has begun, the stream is reset.
  virtual void send_local_reply(const LocalReply& reply) = 0;
  // Sends the request through the whole chain once more with its headers as they are now and `body`: new filters, a new
  // route (an internal redirect). False: it cannot, since the request has not ended or a response has begun.
  virtual bool restart(Buffer&& body) = 0;
  // Ends the stream: downstream sees RST_STREAM or a closed connection.
  virtual void reset_stream(http::ResetReason reason, std::string_view details) = 0;
  virtual bool local_reply_sent() const = 0;

  // ---- the terminal filter: the response starts here ----
  virtual void respond_informational(http::HeaderMapPtr headers) = 0;  // 1xx
  virtual void respond(http::HeaderMapPtr headers, bool end_stream) = 0;
  virtual void respond_data(Buffer& data, bool end_stream) = 0;
  virtual void respond_trailers(http::HeaderMapPtr trailers) = 0;
  // Back-pressure. Towards downstream's request (counted):
  virtual void pause_request() = 0;
  virtual void resume_request() = 0;
  // and of downstream on the response: HttpFilter::on_downstream_*_watermark of the terminal filter.
  virtual bool downstream_above_high_watermark() const = 0;

  virtual bool access_logged() const = 0;  // somebody wants the record of this stream
  virtual bool health_check_failed()
      const = 0;  // the process ends, or an operator said so: /healthcheck/fail

 protected:
  ~HttpFilterContext() = default;
};

// One object a stream. Called for the request in order, for the response in reverse order; what a filter does not care
// for has a default. After on_end nothing more is called, and the object is destroyed at the end of the loop turn.
class HttpFilter {
 public:
  virtual ~HttpFilter() = default;
  // From a free list of the thread: filters come and go with every request.
  static void* operator new(size_t size);
  static void operator delete(void* filter, size_t size);
  virtual void init(HttpFilterContext& context) = 0;

  virtual HeadersStatus on_request_headers(http::HeaderMap&, bool /*end_stream*/) {
    return HeadersStatus::proceed;
  }
  virtual DataStatus on_request_data(Buffer&, bool /*end_stream*/) { return DataStatus::proceed; }
  virtual TrailersStatus on_request_trailers(http::HeaderMap&) { return TrailersStatus::proceed; }

  virtual void on_informational(http::HeaderMap&) {}  // a 1xx response passes
  virtual HeadersStatus on_response_headers(http::HeaderMap&, bool /*end_stream*/) {
    return HeadersStatus::proceed;
  }
  virtual DataStatus on_response_data(Buffer&, bool /*end_stream*/) { return DataStatus::proceed; }
  virtual TrailersStatus on_response_trailers(http::HeaderMap&) { return TrailersStatus::proceed; }

  // Terminal filters: what is queued towards downstream.
  virtual void on_downstream_above_high_watermark() {}
  virtual void on_downstream_below_low_watermark() {}

  // Exactly once on every path, before access logs are written: stop timers, let go of upstreams, complete stream_info.
  virtual void on_end() {}
};

struct HttpFilterScope {
  stats::Scope root;  // of the worker
  std::string stat_prefix;  // of the connection manager: "http.<stat_prefix>."
};
// Makes the filter of one stream. One a worker and filter chain: it holds that worker's statistics handles.
using HttpFilterMaker = std::function<std::unique_ptr<HttpFilter>()>;
// The parsed, immutable configuration of a filter, shared by all workers; each asks it once for its maker.
using HttpFilterFactory = std::function<HttpFilterMaker(const HttpFilterScope& scope)>;

}  // namespace sluice::ext
