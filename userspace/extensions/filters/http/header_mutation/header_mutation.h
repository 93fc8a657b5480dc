#pragma once

#include <memory>
#include <string>
#include <vector>

#include "extensions/common/header_mutations.h"
#include "model/matchers.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::header_mutation {

// envoy.config.core.v3.KeyValueMutation, of the query.
struct QueryMutation {
  std::string name;
  bool remove = false;
  model::HeaderRules::Append action = model::HeaderRules::Append::append_if_exists_or_add;
  std::string literal;  // where there is no formatter
  std::shared_ptr<const model::HeaderFormatter> formatter;
};

// Mutations of one level, each list in order.
struct Mutations final : ext::HttpRouteConfig {
  std::vector<Mutation> request, response, request_trailers, response_trailers;
  std::vector<QueryMutation> query;
};

// Changes headers, trailers and the query: first by the filter's own configuration, then by those of the route's levels,
// the most specific first, unless `most_specific_wins`: then last.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/header_mutation_filter
ext::HttpFilterFactory make_factory(std::shared_ptr<const Mutations> mutations, bool most_specific_wins);

}  // namespace sluice::extensions::header_mutation
