#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "model/route.h"

namespace envoy::config::core::v3 {
class HeaderValueOption;
}
namespace sluice::access_loggers {
class Formatter;
}

// Header rules as the model has them, for routes and for every filter that takes some.
namespace sluice::extensions {

// A value with %OPERATORS%. Errors do not say where.
Result<std::shared_ptr<const model::HeaderFormatter>> make_header_formatter(std::string_view format);
std::shared_ptr<const model::HeaderFormatter> header_formatter(
    std::unique_ptr<access_loggers::Formatter> formatter);

// headers_to_add and headers_to_remove, with the fields' paths. Names that may not be touched (":path", "host") are
// refused, as Envoy does.
Status add_header(const envoy::config::core::v3::HeaderValueOption& in, std::string_view path,
                  model::HeaderRules& out);
Status remove_header(const std::string& name, std::string_view path, model::HeaderRules& out);
using HeaderOptions = google::protobuf::RepeatedPtrField<envoy::config::core::v3::HeaderValueOption>;
Status add_headers(const HeaderOptions& in, std::string_view path, model::HeaderRules& out);
Status remove_headers(const google::protobuf::RepeatedPtrField<std::string>& in, std::string_view path,
                      model::HeaderRules& out);

}  // namespace sluice::extensions
