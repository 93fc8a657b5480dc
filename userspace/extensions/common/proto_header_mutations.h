#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "extensions/common/header_mutations.h"

namespace envoy::config::common::mutation_rules::v3 {
class HeaderMutation;
}
namespace google::protobuf {
template <typename T>
class RepeatedPtrField;
}

namespace sluice::extensions {

// `path` is the field's.
Result<std::vector<Mutation>> to_mutations(
    const google::protobuf::RepeatedPtrField<envoy::config::common::mutation_rules::v3::HeaderMutation>& in,
    const std::string& path);

}  // namespace sluice::extensions
