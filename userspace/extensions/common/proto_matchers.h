#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/regex.h"
#include "core/result.h"
#include "model/matchers.h"

namespace envoy::config::route::v3 {
class HeaderMatcher;
class QueryParameterMatcher;
}  // namespace envoy::config::route::v3
namespace envoy::type::matcher::v3 {
class RegexMatcher;
class RegexMatchAndSubstitute;
class StringMatcher;
}  // namespace envoy::type::matcher::v3
namespace envoy::type::v3 {
class FractionalPercent;
}

// Envoy's matchers as the model has them, for routes and for every filter that takes some. `path` is the message's own
// place; errors start with it.
namespace sluice::extensions {

// Instructions a regex may have, unless google_re2.max_program_size says less. Envoy's limit is 100 unless the runtime
// key re2.max_program_size.error_level raises it, and Istio's bootstrap raises it to this.
constexpr size_t kMaxRegexProgram = 32768;
Result<Regex> to_regex(const envoy::type::matcher::v3::RegexMatcher& in, std::string_view path);

struct Rewrite {
  Regex regex;
  std::string substitution;
};
Result<Rewrite> to_rewrite(const envoy::type::matcher::v3::RegexMatchAndSubstitute& in,
                           std::string_view path);

Result<model::StringMatcher> to_string_matcher(const envoy::type::matcher::v3::StringMatcher& in,
                                               std::string_view path);
Result<model::HeaderMatcher> to_header_matcher(const envoy::config::route::v3::HeaderMatcher& in,
                                               std::string_view path);
Result<model::QueryParameterMatcher> to_query_matcher(
    const envoy::config::route::v3::QueryParameterMatcher& in, std::string_view path);
// A repeated field; `path` is the field's.
Result<std::vector<model::HeaderMatcher>> to_header_matchers(
    const google::protobuf::RepeatedPtrField<envoy::config::route::v3::HeaderMatcher>& in,
    std::string_view path);
model::Fraction to_fraction(const envoy::type::v3::FractionalPercent& in);

}  // namespace sluice::extensions
