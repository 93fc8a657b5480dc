#pragma once

#include <memory>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "io/loop.h"
#include "model/listener.h"

namespace sluice::server {

// The sockets of one address of one listener: one for each worker, together an SO_REUSEPORT group (or one socket that
// all workers accept from, where the listener says enable_reuse_port: false).
struct SocketGroup {
  std::shared_ptr<const model::Listener> listener;
  Address bound;
  std::vector<Fd> fds;
};

// Listeners that stand for whole workloads (virtualOutbound and virtualInbound and the like) rather than for an address
// of the node: with eBPF they are opened in every enrolled network namespace, and only there.
bool intercepting(const model::Listener& listener);

// Do the two take connections from the same sockets?
bool same_sockets(const model::Listener& a, const model::Listener& b);

// Whether sockets of `from` can become those of `to` as they listen: what is set stays set, if to other values. New
// sockets in their place would be sure to do, but connections that the kernel completes while one is closed are lost.
bool can_adjust(const model::Listener& from, const model::Listener& to);
// Whether a socket takes the options of `listener`, without touching those that it has.
Status try_options(io::Loop& loop, const model::Listener& listener);

// Binds; clients are refused until start_listening(). `netns_fd` -1: this process' network namespace. `dual_stack`: a 0.0.0.0 listener gets a [::] twin.
// The error names the listener, the address and what to do.
Result<std::vector<SocketGroup>> open_listener(io::Loop& loop,
                                               const std::shared_ptr<const model::Listener>& listener,
                                               unsigned workers, int netns_fd, bool dual_stack);
Status start_listening(io::Loop& loop, const SocketGroup& group);

}  // namespace sluice::server
