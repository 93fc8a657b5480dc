#include "extensions/common/proto_matchers.h"

#include <algorithm>

#include "core/ascii.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/type/matcher/v3/regex.pb.h"
#include "envoy/type/matcher/v3/string.pb.h"
#include "envoy/type/v3/percent.pb.h"

namespace sluice::extensions {
namespace {

namespace matcher = envoy::type::matcher::v3;
namespace route = envoy::config::route::v3;
using Kind = model::StringMatcher::Kind;

Error at(std::string_view path, const std::string& what) {
  return Error{std::string(path) + what};
}

// The deprecated siblings of string_match.
Result<model::StringMatcher> old_string_matcher(const route::HeaderMatcher& in, std::string_view path) {
  model::StringMatcher out;
  switch (in.header_match_specifier_case()) {
    case route::HeaderMatcher::kExactMatch:
      out.text = in.exact_match();
      // Envoy takes an empty exact_match for no condition at all.
      if (out.text.empty()) out.kind = Kind::prefix;
      break;
    case route::HeaderMatcher::kPrefixMatch:
      out.kind = Kind::prefix;
      out.text = in.prefix_match();
      break;
    case route::HeaderMatcher::kSuffixMatch:
      out.kind = Kind::suffix;
      out.text = in.suffix_match();
      break;
    case route::HeaderMatcher::kContainsMatch:
      out.kind = Kind::contains;
      out.text = in.contains_match();
      break;
    default: {
      SLUICE_ASSIGN(out.regex, to_regex(in.safe_regex_match(), std::string(path) + ".safe_regex_match"));
      out.kind = Kind::regex;
    }
  }
  return out;
}

}  // namespace

Result<Regex> to_regex(const matcher::RegexMatcher& in, std::string_view path) {
  auto made = Regex::compile(in.regex());
  if (!made.ok())
    return at(path, ".regex: '" + in.regex() + "' is no regular expression: " + made.error().message);
  size_t limit = kMaxRegexProgram;
  if (in.google_re2().has_max_program_size()) limit = in.google_re2().max_program_size().value();
  if (made->program_exceeds(limit))
    return at(path, ".regex: '" + in.regex() + "' has a RE2 program size of " +
                        std::to_string(made->program_size()) + ", more than " + std::to_string(limit));
  return made;
}

Result<Rewrite> to_rewrite(const matcher::RegexMatchAndSubstitute& in, std::string_view path) {
  SLUICE_ASSIGN(Regex regex, to_regex(in.pattern(), std::string(path) + ".pattern"));
  if (auto fits = regex.check_substitution(in.substitution()); !fits.ok())
    return at(path, ".substitution: " + fits.error().message);
  return Rewrite{std::move(regex), in.substitution()};
}

Result<model::StringMatcher> to_string_matcher(const matcher::StringMatcher& in, std::string_view path) {
  model::StringMatcher out;
  switch (in.match_pattern_case()) {
    case matcher::StringMatcher::kExact:
      out.text = in.exact();
      break;
    case matcher::StringMatcher::kPrefix:
      out.kind = Kind::prefix;
      out.text = in.prefix();
      break;
    case matcher::StringMatcher::kSuffix:
      out.kind = Kind::suffix;
      out.text = in.suffix();
      break;
    case matcher::StringMatcher::kContains:
      out.kind = Kind::contains;
      out.text = in.contains();
      break;
    case matcher::StringMatcher::kSafeRegex: {
      if (in.ignore_case()) return at(path, ".ignore_case: ignore_case has no effect for safe_regex");
      SLUICE_ASSIGN(out.regex, to_regex(in.safe_regex(), std::string(path) + ".safe_regex"));
      out.kind = Kind::regex;
      return out;
    }
    default:
      return at(path, ": one of exact, prefix, suffix, contains, safe_regex is needed");
  }
  out.ignore_case = in.ignore_case();
  if (out.ignore_case) out.text = to_lower(out.text);
  return out;
}

Result<model::HeaderMatcher> to_header_matcher(const route::HeaderMatcher& in, std::string_view path) {
  model::HeaderMatcher out;
  out.name = to_lower(in.name());
  out.invert = in.invert_match();
  out.treat_missing_as_empty = in.treat_missing_header_as_empty();
  switch (in.header_match_specifier_case()) {
    case route::HeaderMatcher::HEADER_MATCH_SPECIFIER_NOT_SET:
      break;
    case route::HeaderMatcher::kPresentMatch:
      out.present = in.present_match();
      break;
    case route::HeaderMatcher::kRangeMatch:
      out.kind = model::HeaderMatcher::Kind::range;
      out.range_start = in.range_match().start();
      out.range_end = in.range_match().end();
      break;
    case route::HeaderMatcher::kStringMatch: {
      out.kind = model::HeaderMatcher::Kind::string;
      SLUICE_ASSIGN(out.string, to_string_matcher(in.string_match(), std::string(path) + ".string_match"));
      break;
    }
    default: {
      out.kind = model::HeaderMatcher::Kind::string;
      SLUICE_ASSIGN(out.string, old_string_matcher(in, path));
    }
  }
  return out;
}

Result<std::vector<model::HeaderMatcher>> to_header_matchers(
    const google::protobuf::RepeatedPtrField<route::HeaderMatcher>& in, std::string_view path) {
  std::vector<model::HeaderMatcher> out;
  out.reserve(static_cast<size_t>(in.size()));
  for (int i = 0; i < in.size(); ++i) {
    SLUICE_ASSIGN(auto made, to_header_matcher(in[i], std::string(path) + '[' + std::to_string(i) + ']'));
    out.push_back(std::move(made));
  }
  return out;
}

Result<model::QueryParameterMatcher> to_query_matcher(const route::QueryParameterMatcher& in,
                                                      std::string_view path) {
  model::QueryParameterMatcher out;
  out.name = in.name();
  if (in.has_string_match()) {
    SLUICE_ASSIGN(out.value, to_string_matcher(in.string_match(), std::string(path) + ".string_match"));
  } else if (in.query_parameter_match_specifier_case() == route::QueryParameterMatcher::kPresentMatch) {
    out.present = in.present_match();
  }
  return out;
}

model::Fraction to_fraction(const envoy::type::v3::FractionalPercent& in) {
  using Percent = envoy::type::v3::FractionalPercent;
  uint32_t denominator = 100;
  if (in.denominator() == Percent::TEN_THOUSAND) denominator = 10'000;
  if (in.denominator() == Percent::MILLION) denominator = 1'000'000;
  return {.numerator = in.numerator(), .denominator = denominator};
}

}  // namespace sluice::extensions
