#pragma once

#include <string_view>

#include "core/regex.h"
#include "core/result.h"

namespace sluice::extensions {

// The expression for whole paths (without query) that a template of
// envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig stands for: "/a/*/c", "/a/{name}/**",
// "/a/{x=b/*}". "*" and "{name}" are one path segment, "**" is any number of them; nothing with an operator may
// follow a "**". Errors say what is wrong with the template.
Result<Regex> compile_uri_template(std::string_view path_template);

}  // namespace sluice::extensions
