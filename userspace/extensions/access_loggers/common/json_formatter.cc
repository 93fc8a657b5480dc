#include <charconv>
#include <cmath>

#include "core/json_string.h"
#include "extensions/access_loggers/common/formatter.h"

namespace sluice::access_loggers {
namespace {

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
        escape_json_tail(out, start);
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
    return op.append_json(info, type, out) || write_null(out);
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

Result<std::unique_ptr<Formatter>> make_json_formatter(const JsonTemplate& root,
                                                       const FormatOptions& options) {
  SLUICE_ASSIGN(Node node, compile(root, ""));
  return std::unique_ptr<Formatter>(
      std::make_unique<JsonFormatter>(std::move(node), options.omit_empty_values));
}

}  // namespace sluice::access_loggers
