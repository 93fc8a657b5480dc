#include "core/regex.h"

#include <re2/re2.h>

#include <atomic>
#include <cstdlib>
#include <optional>

#include "core/log.h"
#include "core/regex_syntax.h"

namespace sluice {
namespace {

re2::StringPiece piece(std::string_view s) {
  return {s.data(), s.size()};
}

std::unique_ptr<const re2::RE2> compiled_by_re2(std::string_view pattern) {
  return std::make_unique<const re2::RE2>(piece(pattern), re2::RE2::Quiet);
}

// Every \ has a group of the pattern's, or a \, behind it.
bool fits(std::string_view substitution, size_t groups) {
  for (size_t i = 0; i < substitution.size(); ++i) {
    if (substitution[i] != '\\') continue;
    if (++i == substitution.size()) return false;
    const char c = substitution[i];
    if (c != '\\' && (c < '0' || c > '9' || static_cast<size_t>(c - '0') > groups)) return false;
  }
  return true;
}

}  // namespace

struct Regex::Impl {
  Impl(std::string_view pattern, std::optional<PlainRegex> plain_pattern)
      : text(pattern), plain(plain_pattern) {}
  ~Impl() { delete made.load(std::memory_order_relaxed); }

  const re2::RE2& program() const {
    const re2::RE2* done = made.load(std::memory_order_acquire);
    return done != nullptr ? *done : first_use();
  }

  // Workers that come at once each compile, and the first one's stays: nobody waits for a lock.
  const re2::RE2& first_use() const {
    auto mine = compiled_by_re2(text);
    if (!mine->ok()) {
      // recognise_plain_regex() was wrong. To match nothing would open what a rule of RBAC closes.
      SLUICE_LOG(config, critical, "the regex '{}' was accepted and does not compile: {}", text,
                 mine->error());
      std::abort();
    }
    const re2::RE2* others = nullptr;
    if (made.compare_exchange_strong(others, mine.get(), std::memory_order_acq_rel)) return *mine.release();
    return *others;
  }

  // Without the program: not as a whole, as the text starts with something else.
  bool starts_otherwise(std::string_view whole) const {
    return plain && !whole.starts_with(std::string_view(text).substr(plain->prefix_at, plain->prefix_size));
  }

  const std::string text;
  const std::optional<PlainRegex> plain;
  mutable std::atomic<const re2::RE2*> made{nullptr};  // by any thread, once
};

Result<Regex> Regex::compile(std::string_view pattern) {
  auto impl = std::make_shared<const Impl>(pattern, recognise_plain_regex(pattern));
  if (!impl->plain) {
    auto re = compiled_by_re2(pattern);
    if (!re->ok()) return Error{re->error()};
    impl->made.store(re.release(), std::memory_order_relaxed);
  }
  Regex out;
  out.impl_ = std::move(impl);
  return out;
}

bool Regex::full_match(std::string_view text) const {
  return !impl_->starts_otherwise(text) && re2::RE2::FullMatch(piece(text), impl_->program());
}

bool Regex::partial_match(std::string_view text) const {
  return re2::RE2::PartialMatch(piece(text), impl_->program());
}

bool Regex::replace_all(std::string_view text, std::string_view substitution, std::string& out) const {
  std::string whole(text);
  const int count = re2::RE2::GlobalReplace(&whole, impl_->program(), piece(substitution));
  out += whole;
  return count > 0;
}

Status Regex::check_substitution(std::string_view substitution) const {
  if (impl_->plain && fits(substitution, impl_->plain->groups)) return {};
  std::string error;
  if (impl_->program().CheckRewriteString(piece(substitution), &error)) return {};
  return Error{"\"" + std::string(substitution) + "\" does not fit the regex '" + impl_->text +
               "': " + error};
}

size_t Regex::program_size() const {
  return static_cast<size_t>(impl_->program().ProgramSize());
}

bool Regex::program_exceeds(size_t limit) const {
  if (impl_->plain && plain_program_max(impl_->text.size()) <= limit) return false;
  return program_size() > limit;
}

bool Regex::compiled() const {
  return impl_->made.load(std::memory_order_relaxed) != nullptr;
}

const std::string& Regex::pattern() const {
  return impl_->text;
}

}  // namespace sluice
