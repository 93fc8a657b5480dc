#include "core/json.h"

#include <charconv>
#include <cmath>

#include "core/json_string.h"

namespace sluice {
namespace {

constexpr int kDepthMax = 64;

void append_utf8(std::string& out, uint32_t cp) {
  if (cp < 0x80) {
    out += static_cast<char>(cp);
  } else if (cp < 0x800) {
    out += static_cast<char>(0xc0 | (cp >> 6));
    out += static_cast<char>(0x80 | (cp & 63));
  } else if (cp < 0x10000) {
    out += static_cast<char>(0xe0 | (cp >> 12));
    out += static_cast<char>(0x80 | ((cp >> 6) & 63));
    out += static_cast<char>(0x80 | (cp & 63));
  } else {
    out += static_cast<char>(0xf0 | (cp >> 18));
    out += static_cast<char>(0x80 | ((cp >> 12) & 63));
    out += static_cast<char>(0x80 | ((cp >> 6) & 63));
    out += static_cast<char>(0x80 | (cp & 63));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Json> document() {
    SLUICE_ASSIGN(Json v, value(0));
    space();
    if (at_ != text_.size()) return fail("something follows the value");
    return v;
  }

 private:
  Error fail(std::string_view what) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) {
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      } else {
        ++column;
      }
    }
    return Error{"JSON, line " + std::to_string(line) + ", column " + std::to_string(column) + ": " +
                 std::string(what)};
  }
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Result<Json> value(int depth) {
    if (depth > kDepthMax) return fail("nested too deeply");
    space();
    if (at_ >= text_.size()) return fail("a value is missing");
    switch (text_[at_]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"': {
        SLUICE_ASSIGN(std::string s, string());
        return Json(std::move(s));
      }
      case 't':
        if (take("true")) return Json(true);
        break;
      case 'f':
        if (take("false")) return Json(false);
        break;
      case 'n':
        if (take("null")) return Json();
        break;
      default:
        if (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9')) return number();
    }
    return fail("not a value");
  }

  Result<Json> object(int depth) {
    Json out = Json::object();
    take('{');
    space();
    if (take('}')) return out;
    for (;;) {
      space();
      if (at_ >= text_.size() || text_[at_] != '"') return fail("a member's name is missing");
      SLUICE_ASSIGN(std::string key, string());
      space();
      if (!take(':')) return fail("':' is missing");
      SLUICE_ASSIGN(Json v, value(depth + 1));
      if (out.has(key)) return fail("member \"" + key + "\" appears twice");
      out.set(std::move(key), std::move(v));
      space();
      if (take('}')) return out;
      if (!take(',')) return fail("',' or '}' is missing");
    }
  }

  Result<Json> array(int depth) {
    Json out = Json::array();
    take('[');
    space();
    if (take(']')) return out;
    for (;;) {
      SLUICE_ASSIGN(Json v, value(depth + 1));
      out.push(std::move(v));
      space();
      if (take(']')) return out;
      if (!take(',')) return fail("',' or ']' is missing");
    }
  }

  Result<uint32_t> hex4() {
    if (text_.size() - at_ < 4) return fail("\\u needs four hex digits");
    uint32_t v = 0;
    auto [end, ec] = std::from_chars(text_.data() + at_, text_.data() + at_ + 4, v, 16);
    if (ec != std::errc() || end != text_.data() + at_ + 4) return fail("\\u needs four hex digits");
    at_ += 4;
    return v;
  }

  Result<std::string> string() {
    std::string out;
    take('"');
    while (at_ < text_.size()) {
      char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) break;
      char e = text_[at_++];
      switch (e) {
        case '"':
        case '\\':
        case '/':
          out += e;
          break;
        case 'b':
          out += '\b';
          break;
        case 'f':
          out += '\f';
          break;
        case 'n':
          out += '\n';
          break;
        case 'r':
          out += '\r';
          break;
        case 't':
          out += '\t';
          break;
        case 'u': {
          SLUICE_ASSIGN(uint32_t cp, hex4());
          if (cp >= 0xd800 && cp < 0xdc00) {
            if (!take("\\u")) return fail("half a surrogate pair");
            SLUICE_ASSIGN(uint32_t low, hex4());
            if (low < 0xdc00 || low > 0xdfff) return fail("half a surrogate pair");
            cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
          } else if (cp >= 0xdc00 && cp <= 0xdfff) {
            return fail("half a surrogate pair");
          }
          append_utf8(out, cp);
          break;
        }
        default:
          return fail("unknown escape");
      }
    }
    return fail("a string does not end");
  }

  Result<Json> number() {
    size_t end = at_;
    bool integral = true;
    while (end < text_.size() &&
           std::string_view("+-0123456789.eE").find(text_[end]) != std::string_view::npos) {
      if (std::string_view(".eE").find(text_[end]) != std::string_view::npos) integral = false;
      ++end;
    }
    const char* first = text_.data() + at_;
    const char* last = text_.data() + end;
    if (integral) {
      int64_t i = 0;
      auto [p, ec] = std::from_chars(first, last, i);
      if (ec == std::errc() && p == last) return at_ = end, Json(i);
      if (ec != std::errc::result_out_of_range) return fail("not a number");
    }
    double d = 0;
    auto [p, ec] = std::from_chars(first, last, d);
    if (ec != std::errc() || p != last) return fail("not a number");
    at_ = end;
    return Json(d);
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<Json> Json::parse(std::string_view text) {
  return Parser(text).document();
}

double Json::as_double(double otherwise) const {
  if (type_ == Type::number) return number_;
  return type_ == Type::integer ? static_cast<double>(integer_) : otherwise;
}

const Json& Json::operator[](std::string_view key) const {
  static const Json kNull;
  for (const auto& [k, v] : members_)
    if (k == key) return v;
  return kNull;
}

bool Json::has(std::string_view key) const {
  for (const auto& [k, v] : members_)
    if (k == key) return true;
  return false;
}

Json& Json::set(std::string key, Json value) {
  type_ = Type::object;
  for (auto& [k, v] : members_)
    if (k == key) return v = std::move(value), *this;
  members_.emplace_back(std::move(key), std::move(value));
  return *this;
}

Json& Json::push(Json value) {
  type_ = Type::array;
  items_.push_back(std::move(value));
  return *this;
}

std::string Json::dump(bool pretty) const {
  std::string out;
  dump_to(out, pretty, 0);
  return out;
}

void Json::dump_to(std::string& out, bool pretty, int depth) const {
  auto line = [&](int d) {
    if (!pretty) return;
    out += '\n';
    out.append(static_cast<size_t>(d) * 2, ' ');
  };
  switch (type_) {
    case Type::null:
      out += "null";
      break;
    case Type::boolean:
      out += integer_ ? "true" : "false";
      break;
    case Type::integer:
      out += std::to_string(integer_);
      break;
    case Type::number: {
      char buf[32];
      if (!std::isfinite(number_)) {
        out += "null";
        break;
      }
      auto [end, ec] = std::to_chars(buf, buf + sizeof(buf), number_);
      out.append(buf, end);
      break;
    }
    case Type::string:
      append_json_string(string_, out);
      break;
    case Type::array:
    case Type::object: {
      bool object = type_ == Type::object;
      size_t n = object ? members_.size() : items_.size();
      out += object ? '{' : '[';
      for (size_t i = 0; i < n; ++i) {
        if (i) out += ',';
        line(depth + 1);
        if (object) {
          append_json_string(members_[i].first, out);
          out += pretty ? ": " : ":";
          members_[i].second.dump_to(out, pretty, depth + 1);
        } else {
          items_[i].dump_to(out, pretty, depth + 1);
        }
      }
      if (n) line(depth);
      out += object ? '}' : ']';
    }
  }
}

}  // namespace sluice
