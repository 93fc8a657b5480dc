#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "model/tracing.h"

namespace envoy::config::route::v3 {
class Tracing;
}
namespace envoy::type::tracing::v3 {
class CustomTag;
}

// Tracing as the model has it, for connection managers and routes. `path`: of what is given.
namespace sluice::extensions {

Result<std::vector<model::CustomTag>> to_custom_tags(
    const google::protobuf::RepeatedPtrField<envoy::type::tracing::v3::CustomTag>& in, std::string_view path);
Result<std::shared_ptr<const model::RouteTracing>> to_route_tracing(
    const envoy::config::route::v3::Tracing& in, std::string_view path);
// A span's name with %OPERATORS%; null: "".
Result<std::shared_ptr<const model::HeaderFormatter>> to_operation(const std::string& format,
                                                                   std::string_view path);

}  // namespace sluice::extensions
