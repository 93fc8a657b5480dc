#include "core/regex.h"

#include <re2/re2.h>

namespace sluice {

struct Regex::Impl {
  explicit Impl(std::string_view pattern)
      : re(re2::StringPiece(pattern.data(), pattern.size()), re2::RE2::Quiet), text(pattern) {}
  re2::RE2 re;
  std::string text;
};

namespace {

re2::StringPiece piece(std::string_view s) {
  return {s.data(), s.size()};
}

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern) {
  auto impl = std::make_shared<const Impl>(pattern);
  if (!impl->re.ok()) return Error{impl->re.error()};
  Regex out;
  out.impl_ = std::move(impl);
  return out;
}

bool Regex::full_match(std::string_view text) const {
  return re2::RE2::FullMatch(piece(text), impl_->re);
}

bool Regex::partial_match(std::string_view text) const {
  return re2::RE2::PartialMatch(piece(text), impl_->re);
}

bool Regex::replace_all(std::string_view text, std::string_view substitution, std::string& out) const {
  std::string whole(text);
  const int count = re2::RE2::GlobalReplace(&whole, impl_->re, piece(substitution));
  out += whole;
  return count > 0;
}

Status Regex::check_substitution(std::string_view substitution) const {
  std::string error;
  if (impl_->re.CheckRewriteString(piece(substitution), &error)) return {};
  return Error{"\"" + std::string(substitution) + "\" does not fit the regex '" + impl_->text +
               "': " + error};
}

size_t Regex::program_size() const {
  return static_cast<size_t>(impl_->re.ProgramSize());
}

const std::string& Regex::pattern() const {
  return impl_->text;
}

}  // namespace sluice
