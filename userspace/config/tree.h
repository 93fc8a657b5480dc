#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace sluice::config {

// A parsed YAML or JSON document, before anyone knows what it means. Scalars are already typed as Envoy types
// them: plain YAML `yes` is a boolean, plain `0x10` the number 16, what does not fit 32 bits or has a point
// is a string that numeric fields read as a number.
struct Node {
  enum class Kind : uint8_t { null, boolean, number, string, list, map };
  struct Entry {
    std::string key;
    int line, column;
    const Node* value;
  };
  Kind kind = Kind::null;
  int line = 0, column = 0;  // from 1; 0: not from a file
  std::string text;  // boolean: as written, see truth(); number: JSON's syntax; string: as is
  std::vector<const Node*> items;  // list
  std::vector<Entry> entries;  // map; keys are unique
};
std::string_view kind_name(Node::Kind kind);  // "a list"
bool truth(const Node& boolean);  // "true", "Yes", "ON", "y"... of the words that make a node boolean

// Bounds for hostile input: how deep documents may nest, and how many nodes aliases may add by being
// repeated.
constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxAliasNodes = 1'000'000;

// Owns its nodes; an alias shares its anchor's node.
class Tree {
 public:
  Node& add() { return nodes_.emplace_back(); }
  const Node* root = nullptr;

 private:
  std::deque<Node> nodes_;
};

// `source` names the text in errors ("envoy.yaml:12:3: ..."). Duplicate keys, a second document and text that
// is not UTF-8 are refused.
Result<std::unique_ptr<Tree>> read_yaml(std::string_view text, std::string_view source);
Result<std::unique_ptr<Tree>> read_json(std::string_view text, std::string_view source);

// "source:line:column: what"; without the place where line is 0.
Error error_at(std::string_view source, int line, int column, std::string_view what);

// Refuses text that is not UTF-8 and removes a byte order mark.
Result<std::string_view> checked_utf8(std::string_view text, std::string_view source);

}  // namespace sluice::config
