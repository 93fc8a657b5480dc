#pragma once

#include <string_view>
#include <vector>

namespace sluice::ext {

// The fields of one message type that this build acts on. Nothing is accepted and ignored: a field that is set but
// stands in no such list is refused with its path. (What a *value* may be, factories check themselves.)
//
//   Honoured{.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
//            .fields = "stat_prefix cluster weighted_clusters idle_timeout access_log",
//            .meaningless = {{"hash_policy", "there is no hashing load balancer to feed"}}}
//
// A message-typed field needs a list for its own type too; messages listed by nobody are refused whole. Wrappers,
// Duration, Timestamp, Struct and Any need none (what an Any holds does).
struct Honoured {
  struct Meaningless {
    std::string_view field;
    std::string_view reason;  // why it may be set without effect; shown by nobody but the reader of the table
  };
  std::string_view message;  // full name
  std::string_view fields;  // separated by blanks; "*": all of them
  std::vector<Meaningless> meaningless = {};
};

}  // namespace sluice::ext
