#include <charconv>
#include <cmath>

#include "extensions/access_loggers/common/formatter.h"

namespace sluice::access_loggers {
namespace {

bool plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

// Length of the valid UTF-8 sequence that starts at `i` (RFC 3629); 0: not valid.
size_t utf8_length(std::string_view s, size_t i) {
  auto byte = [&](size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
  auto follows = [&](size_t k, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(k) >= low && byte(k) <= high;
  };
  unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return follows(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    return follows(1, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    return follows(1, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

bool valid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    size_t n = utf8_length(s, i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

void append_u00(unsigned char c, std::string& out) {
  out += "\\u00";
  out += "0123456789abcdef"[c >> 4];
  out += "0123456789abcdef"[c & 15];
}

void append_escaped(std::string_view text, std::string& out) {
  // What is not UTF-8 cannot stand in JSON: each odd byte is written by its number, as Envoy does.
  if (!valid_utf8(text)) {
    for (char c : text) {
      if (plain(static_cast<unsigned char>(c)))
        out += c;
      else
        append_u00(static_cast<unsigned char>(c), out);
    }
    return;
  }
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          append_u00(static_cast<unsigned char>(c), out);
        else
          out += c;
    }
  }
}

// Escapes what was appended since `from`; nearly always there is nothing to do.
void escape_tail(std::string& out, size_t from) {
  bool clean = true;
  for (size_t i = from; i < out.size() && clean; ++i) clean = plain(static_cast<unsigned char>(out[i]));
  if (clean) return;
  thread_local std::string raw;
  raw.assign(out, from);
  out.resize(from);
  append_escaped(raw, out);
}

std::string number(double value) {
  char text[40];
  if (std::floor(value) == value && std::abs(value) < 9.2e18)
    return {text, std::to_chars(text, text + sizeof text, static_cast<int64_t>(value)).ptr};
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

struct Node {
  enum class Kind : uint8_t { fixed, null, typed, text, list, object } kind = Kind::null;
  std::string fixed;                // fixed: the JSON itself
  std::vector<Operator> operators;  // typed: one; text: several
  std::vector<Node> children;       // list, object
  std::vector<std::string> keys;    // object: "\"name\":" of each child
};

class JsonFormatter final : public Formatter {
 public:
  JsonFormatter(Node root, bool omit_empty) : root_(std::move(root)), omit_empty_(omit_empty) {}

  void format(const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const override {
    if (!write(root_, info, type, out)) out += "{}";
    out += '\n';
  }

 private:
  // False, with nothing appended: an empty value, to be left out.
  bool write(const Node& n, const ext::StreamInfo& info, ext::AccessLogType type, std::string& out) const {
    switch (n.kind) {
      case Node::Kind::fixed:
        out += n.fixed;
        return true;
      case Node::Kind::null:
        return write_null(out);
      case Node::Kind::typed:
        return write_typed(n.operators.front(), info, type, out);
      case Node::Kind::text: {
        out += '"';
        size_t start = out.size();
        for (const Operator& op : n.operators) {
          if (!op.append(info, type, out) && !omit_empty_) out += '-';
        }
        escape_tail(out, start);
        out += '"';
        return true;
      }
      case Node::Kind::list:
      case Node::Kind::object:
        return write_children(n, info, type, out);
    }
    return false;
  }

  bool write_null(std::string& out) const {
    if (!omit_empty_) out += "null";
    return !omit_empty_;
  }

  bool write_typed(const Operator& op, const ext::StreamInfo& info, ext::AccessLogType type,
                   std::string& out) const {
    if (!op.numeric) out += '"';
    size_t start = out.size();
    if (!op.append(info, type, out)) {
      if (!op.numeric) out.pop_back();
      return write_null(out);
    }
    if (op.numeric) return true;
    escape_tail(out, start);
    out += '"';
    return true;
  }

  bool write_children(const Node& n, const ext::StreamInfo& info, ext::AccessLogType type,
                      std::string& out) const {
    const bool object = n.kind == Node::Kind::object;
    out += object ? '{' : '[';
    bool any = false;
    for (size_t i = 0; i < n.children.size(); ++i) {
      size_t before = out.size();
      if (any) out += ',';
      if (object) out += n.keys[i];
      if (write(n.children[i], info, type, out))
        any = true;
      else
        out.resize(before);
    }
    if (object && !any && omit_empty_) {
      out.pop_back();
      return false;
    }
    out += object ? '}' : ']';
    return true;
  }

  const Node root_;
  const bool omit_empty_;
};

Result<Node> compile(const JsonTemplate& t, const std::string& path) {
  Node n;
  if (std::holds_alternative<std::nullptr_t>(t.value)) return n;
  n.kind = Node::Kind::fixed;
  if (const bool* b = std::get_if<bool>(&t.value)) {
    n.fixed = *b ? "true" : "false";
  } else if (const double* d = std::get_if<double>(&t.value)) {
    n.fixed = number(*d);
  } else if (const std::string* s = std::get_if<std::string>(&t.value)) {
    auto operators = parse_format(*s);
    if (!operators.ok()) return std::move(operators).error().prefixed(path);
    n.operators = std::move(operators).value();
    if (n.operators.empty() || (n.operators.size() == 1 && n.operators[0].is_literal())) {
      append_json_string(n.operators.empty() ? "" : n.operators[0].text.substr(0, n.operators[0].max_length),
                         n.fixed);
    } else {
      n.kind = n.operators.size() == 1 ? Node::Kind::typed : Node::Kind::text;
    }
  } else if (const auto* list = std::get_if<JsonTemplate::List>(&t.value)) {
    n.kind = Node::Kind::list;
    for (size_t i = 0; i < list->size(); ++i) {
      SLUICE_ASSIGN(Node child, compile((*list)[i], path + "[" + std::to_string(i) + "]"));
      n.children.push_back(std::move(child));
    }
  } else if (const auto* object = std::get_if<JsonTemplate::Object>(&t.value)) {
    n.kind = Node::Kind::object;
    for (const auto& [key, value] : *object) {
      SLUICE_ASSIGN(Node child, compile(value, path.empty() ? key : path + "." + key));
      n.children.push_back(std::move(child));
      append_json_string(key, n.keys.emplace_back());
      n.keys.back() += ':';
    }
  }
  return n;
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  append_escaped(text, out);
  out += '"';
}

Result<std::unique_ptr<Formatter>> make_json_formatter(const JsonTemplate& root,
                                                       const FormatOptions& options) {
  SLUICE_ASSIGN(Node node, compile(root, ""));
  return std::unique_ptr<Formatter>(
      std::make_unique<JsonFormatter>(std::move(node), options.omit_empty_values));
}

}  // namespace sluice::access_loggers
