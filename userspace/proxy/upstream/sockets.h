#pragma once

#include "core/address.h"
#include "core/result.h"
#include "net/connection.h"
#include "proxy/upstream/cluster.h"

namespace sluice::upstream {

// What of an ext::Upstream::Origin a socket depends on.
struct SocketOrigin {
  int netns_fd = -1;
  uint32_t mark = 0;
  Address source;
  bool transparent = false;
  bool outside = false;  // outside_netns()
};

// original_src with a source that only the pod's own network namespace brings back: `to` is not in it.
bool outside_netns(const Address& to, const ext::Upstream::Origin& origin);

// Opens a socket to `to`'s family as cluster and origin want it: namespace, mark, bound source. On error nothing is open.
Status open_upstream_socket(WorkerCluster& cluster, const Address& to, const SocketOrigin& origin, int& fd);

// Why a connection did not come about, as Envoy says it; "": the peer closed it while the transport socket shook hands.
std::string connect_failure(const net::Connection& connection, int error);

}  // namespace sluice::upstream
