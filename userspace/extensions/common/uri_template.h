#pragma once

#include <string>
#include <string_view>

#include "core/regex.h"
#include "core/result.h"

namespace sluice::extensions {

// The expression for whole paths (without query) that a template of
// envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig stands for: "/a/*/c", "/a/{name}/**",
// "/a/{x=b/*}". "*" and "{name}" are one path segment, "**" is any number of them; nothing with an operator may
// follow a "**". Errors say what is wrong with the template.
Result<Regex> compile_uri_template(std::string_view path_template);

// What envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig makes of a whole path (without query) that
// such a template matches: "/x/{name}/y", where each {name} stands for what the template's variable has taken. For
// Regex::replace_all; a path that does not match stays as it is.
struct UriRewrite {
  Regex regex;
  std::string substitution;
};
Result<UriRewrite> compile_uri_rewrite(std::string_view path_template, std::string_view rewrite);

}  // namespace sluice::extensions
