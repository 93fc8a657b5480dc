#pragma once

#include <string_view>

#include "core/result.h"
#include "extensions/common/metadata_matcher.h"

namespace envoy::type::matcher::v3 {
class MetadataMatcher;
class ValueMatcher;
}  // namespace envoy::type::matcher::v3

// `path` is the message's own place; errors start with it.
namespace sluice::extensions {

Result<ValueMatcher> to_value_matcher(const envoy::type::matcher::v3::ValueMatcher& in,
                                      std::string_view path);
Result<MetadataMatcher> to_metadata_matcher(const envoy::type::matcher::v3::MetadataMatcher& in,
                                            std::string_view path);

}  // namespace sluice::extensions
