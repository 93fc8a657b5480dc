#include "extensions/access_loggers/common/operators.h"

#include <charconv>
#include <optional>
#include <utility>

#include "extensions/access_loggers/common/operator_kind.h"
#include "extensions/access_loggers/common/parameters.h"

namespace sluice::access_loggers {
namespace {

std::optional<Token> tokenize(std::string_view format, size_t start) {
  auto at = [&](size_t i) { return i < format.size() ? format[i] : '\0'; };
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = start + 1;
  while ((at(i) >= 'A' && at(i) <= 'Z') || is_digit(at(i)) || at(i) == '_') ++i;
  if (i == start + 1) return std::nullopt;
  Token t;
  t.name = format.substr(start + 1, i - start - 1);
  // ":digits%" or "%" from `from`; the end, or npos.
  auto finish = [&](size_t from) -> size_t {
    t.has_length = false;
    if (at(from) == ':') {
      size_t digits = ++from;
      while (is_digit(at(from))) ++from;
      auto [end, error] = std::from_chars(format.data() + digits, format.data() + from, t.length);
      if (error != std::errc{}) return std::string_view::npos;
      t.has_length = true;
    }
    return at(from) == '%' ? from + 1 : std::string_view::npos;
  };
  size_t end = std::string_view::npos;
  if (at(i) == '(') {
    // The first ")" after which a command can end.
    for (size_t close = format.find(')', i); close != format.npos && end == format.npos;
         close = format.find(')', close + 1)) {
      t.params = format.substr(i + 1, close - i - 1);
      if (t.params.find('\n') != t.params.npos) return std::nullopt;
      end = finish(close + 1);
    }
  } else {
    end = finish(i);
  }
  if (end == std::string_view::npos) return std::nullopt;
  t.text = format.substr(start, end - start);
  return t;
}

}  // namespace

Result<std::vector<Operator>> parse_format(std::string_view format) {
  std::vector<Operator> out;
  std::string literal;
  auto flush = [&] {
    if (literal.empty()) return;
    Operator op;
    op.kind = OperatorKind::literal;
    op.text = std::exchange(literal, {});
    out.push_back(std::move(op));
  };
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      literal += format[i++];
      continue;
    }
    if (format.substr(i, 2) == "%%") {
      literal += '%';
      i += 2;
      continue;
    }
    std::optional<Token> t = tokenize(format, i);
    if (!t) {
      return Error{"\"" + std::string(format.substr(i, 24)) + "\" at position " + std::to_string(i) +
                   " is not a command: %NAME%, %NAME(PARAMETERS)% or %NAME(PARAMETERS):LENGTH%; write %% for "
                   "a percent sign"};
    }
    auto op = make_operator(*t);
    if (!op.ok())
      return Error{std::string(t->text) + " at position " + std::to_string(i) + ": " + op.error().message};
    flush();
    out.push_back(std::move(op).value());
    i += t->text.size();
  }
  flush();
  return out;
}

}  // namespace sluice::access_loggers
