#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "core/address.h"
#include "core/stats.h"
#include "io/loop.h"
#include "sluice/ext/stream_info.h"

namespace sluice::ext {

// What a listener filter may learn and change about an accepted socket, before a filter chain is chosen.
class ListenerFilterContext {
 public:
  virtual StreamInfo& stream_info() = 0;
  virtual io::Loop& loop() = 0;
  // Where the client had wanted to go: from eBPF, or SO_ORIGINAL_DST (iptables); nothing if it was not redirected.
  virtual std::optional<Address> original_destination() = 0;

 protected:
  ~ListenerFilterContext() = default;
};

enum class ListenerFilterStatus : uint8_t {
  proceed,  // the next filter
  need_data,  // call on_data with more
  reject,  // close the socket
};

class ListenerFilter {
 public:
  virtual ~ListenerFilter() = default;
  virtual ListenerFilterStatus on_accept(ListenerFilterContext& context) = 0;
  // `bytes`: all that has arrived so far, from the first; nothing is consumed, the filter chain sees the same bytes.
  // end_stream: no more will come.
  virtual ListenerFilterStatus on_data(ListenerFilterContext&, std::string_view /*bytes*/,
                                       bool /*end_stream*/) {
    return ListenerFilterStatus::proceed;
  }
  virtual size_t max_bytes() const { return 0; }  // how much on_data may ask for; 0: none
};

// As for network filters: one maker a worker, from one immutable configuration.
using ListenerFilterMaker = std::function<std::unique_ptr<ListenerFilter>()>;
using ListenerFilterFactory = std::function<ListenerFilterMaker(stats::Scope listener_scope)>;

}  // namespace sluice::ext
