#include "extensions/common/uri_template.h"

#include <algorithm>
#include <string>
#include <vector>

namespace sluice::extensions {
namespace {

// Envoy's limits.
constexpr size_t kMaxVariables = 5;
constexpr size_t kMaxNameLength = 16;

// RFC 3986's pchar without "*" and "=", which mean something in a template; "=" may stand in what it matches.
constexpr std::string_view kPunctuation = "-._~%!$&'()+,;:@";
#define PCHAR R"(a-zA-Z0-9\-._~%!$&'()+,;:@=)"
constexpr std::string_view kSegment = "[" PCHAR "]+";
constexpr std::string_view kSegments = "[" PCHAR "/]*";
#undef PCHAR

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_literal(char c) {
  return is_letter(c) || is_digit(c) || kPunctuation.find(c) != kPunctuation.npos;
}

// Reads a template from the left and writes the expression.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  Result<std::string> run() {
    if (!rest_.starts_with('/') || !std::ranges::all_of(rest_, [](char c) { return c > ' ' && c < 0x7f; }))
      return Error{"wants a path that begins with / and has visible characters alone"};
    out_ = "/";
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      SLUICE_TRY(segment());
      if (rest_.empty()) break;
      if (rest_.front() != '/') {  // "*.txt": what follows an operator, at the end alone
        SLUICE_TRY(literal());
        if (!rest_.empty()) return Error{"a segment with an operator and more can only be the last"};
        break;
      }
      out_ += '/';
      rest_.remove_prefix(1);
    }
    return std::move(out_);
  }

  // Of the variables, in the order of the expression's groups.
  const std::vector<std::string_view>& names() const { return names_; }

 private:
  Status segment() {
    if (rest_.front() == '*') return glob();
    if (rest_.front() == '{') return variable();
    return literal();
  }

  Status glob() {
    if (many_seen_) return Error{"nothing with * may follow **"};
    many_seen_ = rest_.starts_with("**");
    rest_.remove_prefix(many_seen_ ? 2 : 1);
    out_ += many_seen_ ? kSegments : kSegment;
    return {};
  }

  Status literal() {
    size_t length = 0;
    for (; length < rest_.size() && rest_[length] != '/'; ++length) {
      const char c = rest_[length];
      if (!is_literal(c)) return Error{"'" + std::string(1, c) + "' cannot stand in a path here"};
      if (!is_letter(c) && !is_digit(c)) out_ += '\\';
      out_ += c;
    }
    if (length == 0) return Error{"a segment is empty"};
    rest_.remove_prefix(length);
    return {};
  }

  // {name} or {name=segments}.
  Status variable() {
    const size_t close = rest_.find('}');
    if (close == rest_.npos) return Error{"a { is not closed"};
    const std::string_view inside = rest_.substr(1, close - 1), after = rest_.substr(close + 1);
    const size_t equals = std::min(inside.find('='), inside.size());
    SLUICE_TRY(name(inside.substr(0, equals)));
    out_ += '(';
    if (equals == inside.size()) {
      rest_ = "*";
      SLUICE_TRY(glob());
    } else {
      rest_ = inside.substr(equals + 1);
      if (rest_.empty()) return Error{"a variable's = has nothing behind it"};
      while (!rest_.empty()) {
        SLUICE_TRY(rest_.front() == '*' ? glob() : literal());
        if (rest_.empty()) break;
        if (rest_.front() != '/' || rest_.size() == 1)
          return Error{"a variable wants whole segments, with / between them"};
        out_ += '/';
        rest_.remove_prefix(1);
      }
    }
    out_ += ')';
    rest_ = after;
    return {};
  }

  Status name(std::string_view text) {
    const bool good = !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [](char c) {
      return is_letter(c) || is_digit(c) || c == '_';
    });
    if (!good) return Error{"'" + std::string(text) + "' is no name of a variable"};
    if (text.size() > kMaxNameLength)
      return Error{"a variable's name has more than " + std::to_string(kMaxNameLength) + " characters"};
    if (std::ranges::find(names_, text) != names_.end())
      return Error{"two variables are named '" + std::string(text) + "'"};
    if (names_.size() == kMaxVariables)
      return Error{"there are more than " + std::to_string(kMaxVariables) + " variables"};
    names_.push_back(text);
    return {};
  }

  std::string_view rest_;
  std::string out_;
  bool many_seen_ = false;
  std::vector<std::string_view> names_;
};

// The text between the variables of a rewrite: "*" and "=" mean nothing there.
bool is_rewrite_literal(char c) {
  return is_literal(c) || c == '*' || c == '=' || c == '/';
}

}  // namespace

Result<Regex> compile_uri_template(std::string_view path_template) {
  SLUICE_ASSIGN(const std::string pattern, Parser(path_template).run());
  return Regex::compile(pattern);
}

Result<UriRewrite> compile_uri_rewrite(std::string_view path_template, std::string_view rewrite) {
  Parser parser(path_template);
  SLUICE_ASSIGN(const std::string pattern, parser.run());
  SLUICE_ASSIGN(auto regex, Regex::compile("^" + pattern + "$"));
  if (!rewrite.starts_with('/')) return Error{"wants to begin with /"};
  if (rewrite.find("//") != rewrite.npos) return Error{"a segment is empty"};
  std::string substitution;
  for (size_t i = 0; i < rewrite.size(); ++i) {
    if (rewrite[i] != '{') {
      if (!is_rewrite_literal(rewrite[i]))
        return Error{"'" + std::string(1, rewrite[i]) + "' cannot stand in a path here"};
      substitution += rewrite[i];
      continue;
    }
    const size_t close = rewrite.find('}', i);
    if (close == rewrite.npos) return Error{"a { is not closed"};
    const std::string_view name = rewrite.substr(i + 1, close - i - 1);
    const auto found = std::ranges::find(parser.names(), name);
    if (found == parser.names().end())
      return Error{"{" + std::string(name) + "} is no variable of the path_match_policy '" +
                   std::string(path_template) + "'"};
    substitution += '\\' + std::to_string(found - parser.names().begin() + 1);
    i = close;
  }
  return UriRewrite{std::move(regex), std::move(substitution)};
}

}  // namespace sluice::extensions
