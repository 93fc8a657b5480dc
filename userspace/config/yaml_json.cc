#include "config/yaml_json.h"

#include <google/protobuf/struct.pb.h>

#include <charconv>
#include <cmath>
#include <vector>

#include "config/fill.h"
#include "config/tree.h"

namespace sluice::config {

namespace pb = google::protobuf;

Status parse_text(std::string_view text, std::string_view source, Syntax syntax, pb::Message& into) {
  SLUICE_ASSIGN(const auto tree, syntax == Syntax::yaml ? read_yaml(text, source) : read_json(text, source));
  if (tree->root == nullptr || tree->root->kind == Node::Kind::null)
    return error_at(source, 0, 0,
                    "is empty; a configuration is a map of fields of " + into.GetDescriptor()->full_name());
  return Filler(source).message(*tree->root, FieldPath(), into);
}

namespace {

// A Struct as a document, so that one reader serves both.
Result<const Node*> node_of(Tree& tree, const pb::Value& value, size_t depth);

Result<const Node*> node_of(Tree& tree, const pb::Struct& value, size_t depth) {
  Node& node = tree.add();
  node.kind = Node::Kind::map;
  std::vector<Node::Entry> entries;
  for (const auto& [key, field] : value.fields()) {
    SLUICE_ASSIGN(const Node* inner, node_of(tree, field, depth + 1));
    entries.push_back({key, 0, 0, inner});
  }
  node.entries = tree.keep(entries);
  return &node;
}

Result<const Node*> node_of(Tree& tree, const pb::Value& value, size_t depth) {
  if (depth > kMaxDepth) return Error{"nested more than " + std::to_string(kMaxDepth) + " deep"};
  if (value.has_struct_value()) return node_of(tree, value.struct_value(), depth);
  Node& node = tree.add();
  switch (value.kind_case()) {
    case pb::Value::kBoolValue:
      node.kind = Node::Kind::boolean;
      node.text = value.bool_value() ? "true" : "false";
      break;
    case pb::Value::kNumberValue: {
      if (!std::isfinite(value.number_value())) return Error{"a number is not finite"};
      char text[32];
      const auto end = std::to_chars(text, text + sizeof text, value.number_value()).ptr;
      node.kind = Node::Kind::number;
      node.text = tree.keep(std::string_view(text, end));
      break;
    }
    case pb::Value::kStringValue:
      node.kind = Node::Kind::string;
      node.text = value.string_value();
      break;
    case pb::Value::kListValue: {
      node.kind = Node::Kind::list;
      std::vector<const Node*> items;
      for (const auto& item : value.list_value().values()) {
        SLUICE_ASSIGN(const Node* inner, node_of(tree, item, depth + 1));
        items.push_back(inner);
      }
      node.items = tree.keep(items);
      break;
    }
    default:
      break;
  }
  return &node;
}

}  // namespace

Status parse_struct(const pb::Struct& value, const FieldPath& path, pb::Message& into) {
  Tree tree;
  auto root = node_of(tree, value, 0);
  if (!root.ok()) return Error{path.error(root.error().message)};
  return Filler("").message(**root, path, into);
}

}  // namespace sluice::config
