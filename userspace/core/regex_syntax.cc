#include "core/regex_syntax.h"

namespace sluice {
namespace {

bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

bool is_alphanumeric(char c) {
  return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// \d and its like, in brackets and out of them.
bool is_class_escape(char c) {
  return std::string_view("dwsDWS").find(c) != std::string_view::npos;
}

// What an escape stands for, 0 where it is no single character: \. and \n, but no octal or hexadecimal ones.
char single(char escaped) {
  switch (escaped) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return is_printable(escaped) && !is_alphanumeric(escaped) ? escaped : '\0';
  }
}

class Recogniser {
 public:
  explicit Recogniser(std::string_view pattern) : pattern_(pattern) {}

  std::optional<PlainRegex> run() {
    if (pattern_.size() > kPlainRegexSizeMax) return {};
    if (pattern_.starts_with('^')) found_.prefix_at = 1;
    while (!done())
      if (!token()) return {};
    if (depth_ > 0) return {};
    if (alternatives_) found_.prefix_size = 0;
    return found_;
  }

 private:
  size_t prefix_end() const { return size_t{found_.prefix_at} + found_.prefix_size; }
  bool done() const { return at_ == pattern_.size(); }
  char peek() const { return done() ? '\0' : pattern_[at_]; }
  char take() { return done() ? '\0' : pattern_[at_++]; }
  bool take_if(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  bool token() {
    const size_t start = at_;
    const char c = take();
    switch (c) {
      case '\\':
        return escape();
      case '[':
        return atom(bracket());
      case '(':
        return open();
      case ')':
        return depth_-- > 0 && atom(true);
      case '|':
        alternatives_ |= depth_ == 0;
        return anchor();
      case '^':
      case '$':
        return anchor();
      case '*':
      case '+':
      case '?':
        return repetition();
      case '.':
        return atom(true);
      case '{':  // a literal or a count, as what follows has it
        return false;
      default:
        if (start == prefix_end()) ++found_.prefix_size;
        return atom(is_printable(c));
    }
  }

  // What was read can be repeated.
  bool atom(bool good) {
    repeatable_ = good;
    return good;
  }

  // It cannot. RE2 takes ^* all the same, but who writes that?
  bool anchor() {
    repeatable_ = false;
    return true;
  }

  bool repetition() {
    if (!repeatable_) return false;
    // Of the prefix's last byte: there may be none of it.
    if (found_.prefix_size > 0 && prefix_end() == at_ - 1) --found_.prefix_size;
    take_if('?');
    repeatable_ = false;
    return true;
  }

  bool open() {
    if (++depth_ > kPlainRegexDepthMax) return false;
    repeatable_ = false;
    if (!take_if('?')) return ++found_.groups, true;
    return take_if(':');
  }

  bool escape() {
    const char c = take();
    if (c == 'b' || c == 'B') return anchor();
    return atom(is_class_escape(c) || single(c) != '\0');
  }

  // A character of a bracket, 0 where it is none or one that means something there.
  char member() {
    const char c = take();
    if (c == '\\') return single(take());
    return c != '[' && c != ']' && c != '-' && is_printable(c) ? c : '\0';
  }

  // After the [.
  bool bracket() {
    const bool negated = take_if('^');
    bool empty = true;
    while (!take_if(']')) {
      if (take_if('-')) {  // itself where it is first or last
        if (!empty && peek() != ']') return false;
        if (peek() == '-') return false;
      } else if (peek() == '\\' && at_ + 1 < pattern_.size() && is_class_escape(pattern_[at_ + 1])) {
        // [^\s\S] is nothing, and RE2 has ways of its own for that.
        if (negated && !is_lower(pattern_[at_ + 1])) return false;
        at_ += 2;
      } else {
        const char first = member();
        if (first == '\0') return false;
        if (peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
          ++at_;
          const char last = member();
          if (last == '\0' || last < first) return false;
        }
      }
      empty = false;
    }
    return !empty;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  size_t depth_ = 0;
  bool repeatable_ = false;
  bool alternatives_ = false;  // outside of groups
  PlainRegex found_;
};

}  // namespace

std::optional<PlainRegex> recognise_plain_regex(std::string_view pattern) {
  return Recogniser(pattern).run();
}

}  // namespace sluice
