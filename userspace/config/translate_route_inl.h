#pragma once

#include <algorithm>
#include <limits>

#include "config/translate_route.h"
#include "extensions/common/proto_headers.h"

// The templates of translate_route.h.
namespace sluice::config {

template <typename T>
Result<T>&& below(const FieldPath& path, Result<T>&& made) {
  if (!made.ok()) {
    Error error = std::move(made).error();
    error.message.insert(0, path.to_string());
    made = std::move(error);
  }
  return std::move(made);
}

template <typename Proto>
Status add_header_rules(const Proto& in, const FieldPath& path, Rare<model::HeaderRulesPair>& out) {
  using extensions::add_headers, extensions::remove_headers;
  // Most messages have none of these: only then is a path made.
  auto at = [&](const char* field) { return path.field(field).to_string(); };
  if (!in.request_headers_to_add().empty())
    SLUICE_TRY(add_headers(in.request_headers_to_add(), at("request_headers_to_add"), out.edit().request));
  if (!in.request_headers_to_remove().empty())
    SLUICE_TRY(
        remove_headers(in.request_headers_to_remove(), at("request_headers_to_remove"), out.edit().request));
  if (!in.response_headers_to_add().empty())
    SLUICE_TRY(add_headers(in.response_headers_to_add(), at("response_headers_to_add"), out.edit().response));
  if (!in.response_headers_to_remove().empty())
    SLUICE_TRY(remove_headers(in.response_headers_to_remove(), at("response_headers_to_remove"),
                              out.edit().response));
  return {};
}

template <typename Proto>
Status add_filter_configs(const Proto& in, const RouteContext& context, const FieldPath& path,
                          Rare<model::FilterConfigs>& out) {
  const FieldPath field = path.field("typed_per_filter_config");
  for (const auto& [filter, config] : in.typed_per_filter_config()) {
    SLUICE_ASSIGN(out.edit().by_name[filter], to_filter_config(config, filter, context, field.key(filter)));
  }
  return {};
}

template <typename Proto>
Status add_mirrors(const Proto& in, const RouteContext& context, const FieldPath& path,
                   Rare<std::vector<model::MirrorPolicy>>& out) {
  const FieldPath field = path.field("request_mirror_policies");
  for (int i = 0; i < in.request_mirror_policies_size(); ++i) {
    SLUICE_ASSIGN(auto made, to_mirror_policy(in.request_mirror_policies(i), context,
                                              field.item(static_cast<size_t>(i))));
    out.edit().push_back(std::move(made));
  }
  return {};
}

// per_request_buffer_limit_bytes, or its successor, which is wider than any buffer.
template <typename Proto>
std::optional<uint32_t> body_limit(const Proto& in) {
  if (in.has_request_body_buffer_limit())
    return static_cast<uint32_t>(
        std::min<uint64_t>(in.request_body_buffer_limit().value(), std::numeric_limits<uint32_t>::max()));
  if (in.has_per_request_buffer_limit_bytes()) return in.per_request_buffer_limit_bytes().value();
  return {};
}

}  // namespace sluice::config
