#pragma once

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "core/result.h"

namespace sluice::config {

// A parsed YAML or JSON document, before anyone knows what it means. Scalars are already typed as Envoy types
// them: plain YAML `yes` is a boolean, plain `0x10` the number 16, what does not fit 32 bits or has a point
// is a string that numeric fields read as a number. What it shows is the tree's or the source text's: both must stay.
struct Node {
  enum class Kind : uint8_t { null, boolean, number, string, list, map };
  struct Entry {
    std::string_view key;
    int line, column;
    const Node* value;
  };
  Kind kind = Kind::null;
  int line = 0, column = 0;  // from 1; 0: not from a file
  std::string_view text;  // boolean: as written, see truth(); number: JSON's syntax; string: as is
  std::span<const Node* const> items;  // list
  std::span<const Entry> entries;  // map; keys are unique
};
std::string_view kind_name(Node::Kind kind);  // "a list"
bool truth(const Node& boolean);  // "true", "Yes", "ON", "y"... of the words that make a node boolean

// Bounds for hostile input: how deep documents may nest, and how many nodes aliases may add by being
// repeated.
constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxAliasNodes = 1'000'000;

// Whether a map's key is new: `entries` holds those before it.
class KeySet {
 public:
  bool add(std::span<const Node::Entry> entries, std::string_view key);

 private:
  std::unordered_set<std::string_view> many_;  // from a few keys on
};

// Owns its nodes; an alias shares its anchor's node.
class Tree {
 public:
  Node& add() { return *std::construct_at(static_cast<Node*>(allocate(sizeof(Node)))); }
  // Copies that live as long as the tree.
  std::string_view keep(std::string_view text);
  std::span<const Node* const> keep(std::span<const Node* const> items);
  std::span<const Node::Entry> keep(std::span<const Node::Entry> entries);
  const Node* root = nullptr;

 private:
  void* allocate(size_t bytes) { return memory_.allocate(bytes, alignof(Node)); }
  std::pmr::monotonic_buffer_resource memory_{1 << 12};
};

// `source` names the text in errors ("envoy.yaml:12:3: ..."). Duplicate keys, a second document and text that
// is not UTF-8 are refused.
Result<std::unique_ptr<Tree>> read_yaml(std::string_view text, std::string_view source);
Result<std::unique_ptr<Tree>> read_json(std::string_view text, std::string_view source);

// "source:line:column: what"; without the place where line is 0.
Error error_at(std::string_view source, int line, int column, std::string_view what);

// The two steps of read_yaml. First a reader for what nearly all configurations are made of: block maps and lists, flow
// maps and lists, plain and quoted scalars of one line, comments. It gives the tree that the second would give, and null
// for any other text, right or wrong. Then the full reader, which costs fifty times as much. `text` is UTF-8.
std::unique_ptr<Tree> read_simple_yaml(std::string_view text);
Result<std::unique_ptr<Tree>> read_full_yaml(std::string_view text, std::string_view source);

// YAML 1.1's types for a plain scalar as yaml-cpp and so Envoy read them; not null.
void set_plain_scalar(Tree& tree, Node& node, std::string_view text);
bool is_yaml_null(std::string_view text);  // of a plain scalar

// Refuses text that is not UTF-8 and removes a byte order mark.
Result<std::string_view> checked_utf8(std::string_view text, std::string_view source);

}  // namespace sluice::config
