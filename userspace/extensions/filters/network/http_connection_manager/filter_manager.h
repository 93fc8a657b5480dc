#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/buffer.h"
#include "http/codec.h"
#include "http/header_map.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"
#include "sluice/ext/network_filter.h"

namespace sluice::extensions::http_connection_manager {

// A filter of a chain, as a worker makes it for each stream.
struct ChainFilter {
  std::string name;  // the key of typed_per_filter_config
  ext::HttpFilterMaker make;
  bool disabled = false;
};

// The filters of one stream: carries the request down and the response up, keeps what a filter has stopped, answers for
// filters, sees to limits. Knows neither codec nor connection; the stream does (Host).
//
// Each filter has two halves (request, response). A half is flowing or stopped; what comes to a stopped half is kept there
// until its filter goes on. Every pass through the chain remembers the epoch it began in: a local reply, an end or a restart
// begins a new one, and what belongs to the old epoch stops where it is.
class FilterManager {
 public:
  class Host {
   public:
    virtual ext::StreamInfo& stream_info() = 0;
    virtual ext::NetworkFilterContext& network() = 0;
    virtual const model::RouteMatch* route() = 0;
    virtual void clear_route_cache() = 0;
    // The response behind all filters. The host may change the head.
    virtual void send_informational(http::HeaderMap& headers) = 0;
    virtual void send_headers(http::HeaderMap& headers, bool end_stream) = 0;
    virtual void send_data(Buffer&& data, bool end_stream) = 0;
    virtual void send_trailers(http::HeaderMap& trailers) = 0;
    // Makes head and body of a local reply from what a filter said.
    virtual http::HeaderMapPtr make_reply(const ext::LocalReply& reply, std::string& body) = 0;
    virtual void pause_request() = 0;
    virtual void resume_request() = 0;
    virtual bool above_write_watermark() const = 0;
    // The stream is over before its time.
    virtual void reset_stream(http::ResetReason reason, std::string_view details) = 0;
    virtual bool restart(Buffer&& body) = 0;
    virtual void on_request_too_large() = 0;  // for statistics
    virtual void on_response_too_large() = 0;
    virtual void touch() = 0;  // something moved
    virtual ext::Upstream::Origin origin() = 0;
    virtual bool access_logged() const = 0;

   protected:
    ~Host() = default;
  };

  explicit FilterManager(Host& host);
  FilterManager(const FilterManager&) = delete;
  FilterManager& operator=(const FilterManager&) = delete;
  ~FilterManager();

  // ---- the host's side ----
  void begin(uint32_t buffer_limit) { buffer_limit_ = buffer_limit; }
  void set_request_headers(http::HeaderMapPtr headers) { request_headers_ = std::move(headers); }
  // Makes the filters; `disabled`: has the route switched this one off (or on)?
  void create(const std::vector<ChainFilter>& chain, const model::RouteMatch* route);
  bool created() const { return created_; }
  void on_request_headers(bool end_stream);  // those of set_request_headers
  void on_request_data(Buffer& data, bool end_stream);
  void on_request_trailers(http::HeaderMapPtr trailers);
  void on_downstream_above_watermark();
  void on_downstream_below_watermark();
  void send_local_reply(const ext::LocalReply& reply);
  // Nothing passes any more; end() calls on_end and lets go of the filters and maps: once, from outside all callbacks.
  void stop() { ++epoch_, over_ = true; }
  void end();
  void recycle();  // for the next stream

  http::HeaderMap* request_headers() { return request_headers_.get(); }
  http::HeaderMapPtr take_request_headers() { return std::move(request_headers_); }
  bool request_ended() const { return request_ended_; }
  bool response_head_sent() const { return head_sent_; }
  bool response_ended() const { return response_ended_; }
  bool local_reply_sent() const { return local_reply_; }

 private:
  enum class Way : uint8_t { request, response };
  enum class Flow : uint8_t {
    flowing,
    stopped,  // later filters wait; body and trailers still come to this one
    stopped_all,  // and those wait too
  };
  struct Half {
    Flow flow = Flow::flowing;
    bool head_passed = false;
    bool end = false;  // the end of the message waits here
    bool trailers = false;  // so do its trailers
    bool calling = false;
    bool go_on = false;  // continue_*() came from inside the call
    bool added_trailers = false;  // in the call
    bool paused = false;  // the peer, for the sake of what is kept
    bool done = false;  // its end has passed
    Buffer kept;
  };
  class Entry;

  Half& half(Way way, size_t i);
  size_t count() const { return count_; }
  // Positions run from 0 to count() - 1 in the order of passage, either way.
  Entry& entry(Way way, size_t position) {
    return *entries_[way == Way::request ? position : count_ - 1 - position];
  }
  template <Way way>
  void pass_headers(size_t from, bool end);
  template <Way way>
  void pass_data(size_t from, Buffer& data, bool end);
  template <Way way>
  void pass_trailers(size_t from);
  template <Way way>
  void go_on(Entry& e);  // continue_request, continue_response
  template <Way way>
  void release(size_t position);  // what waits at a half behind its filter
  void release_response(Entry& e, size_t bytes);
  template <Way way>
  void keep(Half& h, Buffer& data, bool watermark);
  void unpause(Half& h, Way way);
  void refresh_response_info();

  // The terminal filter's calls.
  void respond_informational(http::HeaderMapPtr headers);
  void respond(http::HeaderMapPtr headers, bool end_stream);
  void respond_data(Buffer& data, bool end_stream);
  void respond_trailers(http::HeaderMapPtr trailers);
  bool stale() const { return over_ || local_reply_; }

  Host& host_;
  std::vector<std::unique_ptr<Entry>> entries_;  // kept from stream to stream
  size_t count_ = 0;
  uint32_t buffer_limit_ = 0;
  uint64_t epoch_ = 0;
  bool created_ = false, over_ = false, ended_ = false;
  bool request_ended_ = false, request_started_ = false;
  bool response_begun_ = false, head_sent_ = false, response_ended_ = false, local_reply_ = false;
  http::HeaderMapPtr request_headers_, request_trailers_, response_headers_, response_trailers_;
  http::HeaderMapPtr replaced_;  // by a local reply; the filter that asked for it may still look at it
};

}  // namespace sluice::extensions::http_connection_manager
