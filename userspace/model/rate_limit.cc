#include "model/rate_limit.h"

#include <algorithm>
#include <optional>

#include "http/query.h"
#include "model/metadata.h"

namespace sluice::model {

namespace {

using Kind = RateLimitAction::Kind;

// Nothing: the descriptor is not made.
std::optional<std::string> value_of(const RateLimitAction& action, const RateLimitInput& input,
                                    bool& left_out) {
  const std::string_view query = http::query_of(input.headers.get(http::Name::path)).value_or("");
  switch (action.kind) {
    case Kind::source_cluster:
      return std::string(input.source_cluster);
    case Kind::destination_cluster:
      return std::string(input.destination_cluster);
    case Kind::request_header: {
      if (const auto* field = input.headers.find(action.name)) return std::string(field->value);
      left_out = action.skip_if_absent;
      return {};
    }
    case Kind::query_parameter: {
      std::string value;
      if (http::append_query_value(query, action.name, value)) return value;
      left_out = action.skip_if_absent;
      return {};
    }
    case Kind::remote_address:
      if (!input.remote.is_ip()) return {};
      return input.remote.ip().unmapped().to_string();
    case Kind::masked_remote_address: {
      if (!input.remote.is_ip()) return {};
      const IpAddress ip = input.remote.ip().unmapped();
      auto range = Cidr::make(ip, ip.is_v4() ? action.v4_prefix : action.v6_prefix);
      if (!range.ok()) return {};
      return range->to_string();
    }
    case Kind::generic_key:
      return action.value;
    case Kind::header_value_match: {
      const bool hit =
          std::ranges::all_of(action.headers, [&](const auto& m) { return m.matches(input.headers); });
      if (hit != action.expect_match) return {};
      return action.value;
    }
    case Kind::query_parameter_value_match: {
      const bool hit = std::ranges::all_of(action.query, [&](const auto& m) { return m.matches(query); });
      if (hit != action.expect_match) return {};
      return action.value;
    }
    case Kind::metadata: {
      const auto found = metadata_value(input.metadata, action.name, action.path);
      if (found && found->type() == Json::Type::string && !found->as_string().empty())
        return std::string(found->as_string());
      if (!action.value.empty()) return action.value;
      left_out = action.skip_if_absent;
      return {};
    }
  }
  return {};
}

}  // namespace

bool describe(const RateLimit& limit, const RateLimitInput& input, RateLimitDescriptor& out) {
  for (const RateLimitAction& action : limit.actions) {
    bool left_out = false;
    auto value = value_of(action, input, left_out);
    if (value)
      out.emplace_back(action.key, std::move(*value));
    else if (!left_out)
      return false;
  }
  return true;
}

}  // namespace sluice::model
