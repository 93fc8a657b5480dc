#pragma once

#include "test/unit/config/verdicts.h"

// What istiod says and few others do, on both sides of what is right, and what Envoy and Sluice say of it, as in verdicts.h.
namespace sluice::config::test {

#define DISABLED(predicate)                                                 \
  LISTENER(AT ", listener_filters: [{name: x, filter_disabled: {" predicate \
              "}, typed_config: {" TYPE("filters.listener.original_dst.v3.OriginalDst") "}}], " CHAIN)
#define PORTS(start) "{destination_port_range: {start: " start ", end: 10000}}"
#define DNS(fields)                                                                      \
  CLUSTER("type: STRICT_DNS, typed_dns_resolver_config: {name: x, typed_config: {" TYPE( \
      "network.dns_resolver.cares.v3.CaresDnsResolverConfig") ", " fields "}}, " ASSIGNED)

inline constexpr Row kIstiodRows[] = {
    {"a listener filter that is disabled for ports", Verdict::accepted,
     DISABLED(
         "or_match: {rules: [" PORTS("3306") ", {not_match: {any_match: true}}, {and_match: {rules: [" PORTS(
             "1") ", " PORTS("2") "]}}]}")},
    {"filter_disabled for everything", Verdict::accepted, DISABLED("any_match: true")},
    {"filter_disabled without a rule", Verdict::refused, DISABLED(""), "filter_disabled"},
    {"filter_disabled by one of one", Verdict::refused, DISABLED("or_match: {rules: [" PORTS("1") "]}"),
     "filter_disabled.or_match.rules"},
    {"filter_disabled by any_match: false", Verdict::refused, DISABLED("any_match: false"),
     "filter_disabled.any_match"},
    {"never: the longest duration there is", Verdict::accepted,
     CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 9223372035.999999999s")},
    {"longer than nanoseconds can hold", Verdict::refused,
     CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, cleanup_interval: 9223372036s"),
     "out of range"},
    {"a limit of questions by UDP", Verdict::accepted, DNS("udp_max_queries: 100")},
    {"no limit of questions by UDP", Verdict::accepted, DNS("udp_max_queries: 0")},
};

#undef DISABLED
#undef DNS
#undef PORTS

}  // namespace sluice::config::test
