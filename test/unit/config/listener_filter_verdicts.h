#pragma once

#include "test/unit/config/verdicts.h"

// filter_disabled of listener filters, and what Envoy and Sluice say of it, as in verdicts.h.
namespace sluice::config::test {

#define DISABLED(predicate)                                                 \
  LISTENER(AT ", listener_filters: [{name: x, filter_disabled: {" predicate \
              "}, typed_config: {" TYPE("filters.listener.original_dst.v3.OriginalDst") "}}], " CHAIN)
#define PORTS(start) "{destination_port_range: {start: " start ", end: 10000}}"

inline constexpr Row kListenerFilterRows[] = {
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
};

#undef DISABLED
#undef PORTS

}  // namespace sluice::config::test
