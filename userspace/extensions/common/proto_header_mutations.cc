#include "extensions/common/proto_header_mutations.h"

#include "core/ascii.h"
#include "envoy/config/common/mutation_rules/v3/mutation_rules.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"

namespace sluice::extensions {
namespace {

using HeaderProto = envoy::config::common::mutation_rules::v3::HeaderMutation;

Result<Mutation> to_mutation(const HeaderProto& in, const std::string& path) {
  switch (in.action_case()) {
    case HeaderProto::kRemove:
      return Mutation(Remove{to_lower(in.remove())});
    case HeaderProto::kRemoveOnMatch: {
      SLUICE_ASSIGN(auto matcher, to_string_matcher(in.remove_on_match().key_matcher(),
                                                    path + ".remove_on_match.key_matcher"));
      return Mutation(RemoveOnMatch{std::move(matcher)});
    }
    case HeaderProto::kAppend: {
      model::HeaderRules rules;
      SLUICE_TRY(add_header(in.append(), path + ".append", rules));
      return Mutation(std::move(rules.add.front()));
    }
    case HeaderProto::ACTION_NOT_SET:
      break;
  }
  return Error{path + ": one of remove, append, remove_on_match is needed"};
}

}  // namespace

Result<std::vector<Mutation>> to_mutations(const google::protobuf::RepeatedPtrField<HeaderProto>& in,
                                           const std::string& path) {
  std::vector<Mutation> out;
  for (int i = 0; i < in.size(); ++i) {
    SLUICE_ASSIGN(auto made, to_mutation(in[i], path + "[" + std::to_string(i) + "]"));
    out.push_back(std::move(made));
  }
  return out;
}

}  // namespace sluice::extensions
