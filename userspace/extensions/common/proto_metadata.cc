#include "extensions/common/proto_metadata.h"

#include "envoy/type/matcher/v3/metadata.pb.h"
#include "envoy/type/matcher/v3/value.pb.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::extensions {
namespace {

namespace matcher = envoy::type::matcher::v3;
using Kind = ValueMatcher::Kind;

}  // namespace

Result<ValueMatcher> to_value_matcher(const matcher::ValueMatcher& in, std::string_view path) {
  const std::string base(path);
  ValueMatcher out;
  switch (in.match_pattern_case()) {
    case matcher::ValueMatcher::kNullMatch:
      out.kind = Kind::null;
      return out;
    case matcher::ValueMatcher::kDoubleMatch:
      out.kind = Kind::number;
      out.exact = !in.double_match().has_range();
      out.begin = out.exact ? in.double_match().exact() : in.double_match().range().start();
      out.end = in.double_match().range().end();
      return out;
    case matcher::ValueMatcher::kStringMatch: {
      out.kind = Kind::string;
      SLUICE_ASSIGN(out.string, to_string_matcher(in.string_match(), base + ".string_match"));
      return out;
    }
    case matcher::ValueMatcher::kBoolMatch:
      out.kind = Kind::boolean;
      out.expected = in.bool_match();
      return out;
    case matcher::ValueMatcher::kPresentMatch:
      out.kind = Kind::present;
      out.expected = in.present_match();
      return out;
    case matcher::ValueMatcher::kListMatch: {
      out.kind = Kind::list;
      if (!in.list_match().has_one_of()) return out;
      SLUICE_ASSIGN(auto one, to_value_matcher(in.list_match().one_of(), base + ".list_match.one_of"));
      out.values.push_back(std::move(one));
      return out;
    }
    case matcher::ValueMatcher::kOrMatch: {
      out.kind = Kind::any_of;
      const auto& list = in.or_match().value_matchers();
      for (int i = 0; i < list.size(); ++i) {
        SLUICE_ASSIGN(auto one, to_value_matcher(
                                    list[i], base + ".or_match.value_matchers[" + std::to_string(i) + "]"));
        out.values.push_back(std::move(one));
      }
      return out;
    }
    default:
      return Error{base +
                   ": one of null_match, double_match, string_match, bool_match, present_match, "
                   "list_match, or_match is needed"};
  }
}

Result<MetadataMatcher> to_metadata_matcher(const matcher::MetadataMatcher& in, std::string_view path) {
  const std::string base(path);
  MetadataMatcher out;
  out.filter = in.filter();
  for (const auto& segment : in.path()) out.path.push_back(segment.key());
  if (out.path.empty()) return Error{base + ".path: at least one segment is needed"};
  SLUICE_ASSIGN(out.value, to_value_matcher(in.value(), base + ".value"));
  out.invert = in.invert();
  return out;
}

}  // namespace sluice::extensions
