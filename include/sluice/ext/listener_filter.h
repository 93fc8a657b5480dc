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
  // `bytes`: all that has arrived so far and no filter before has taken, but at most max_bytes(); those that are not
  // taken are what the next filter and the filter chain see. end_stream: no more will come; if the filter still needs
  // data then, the connection is closed.
  virtual ListenerFilterStatus on_data(ListenerFilterContext&, std::string_view /*bytes*/,
                                       bool /*end_stream*/) {
    return ListenerFilterStatus::proceed;
  }
  // How much on_data may ask for; 0: none. May grow while on_data asks for more. With so much and no decision the next
  // filter is asked.
  virtual size_t max_bytes() const { return 0; }
  // How many bytes the filter keeps for itself, of those that on_data saw when it said proceed.
  virtual size_t taken() const { return 0; }
};

// As for network filters: one maker a worker, from one immutable configuration.
using ListenerFilterMaker = std::function<std::unique_ptr<ListenerFilter>()>;
using ListenerFilterFactory = std::function<ListenerFilterMaker(stats::Scope listener_scope)>;

}  // namespace sluice::ext
