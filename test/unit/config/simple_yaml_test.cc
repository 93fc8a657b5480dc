// Both steps of read_yaml give the same tree, whatever text both take.
#include <doctest/doctest.h>

#include <string>

#include "config/tree.h"
#include "core/random.h"
#include "test/unit/config/bench_configs.h"

namespace sluice::config {
namespace {

// With every place, so that errors say the same line.
void print(const Node& node, std::string& out) {
  out += std::to_string(static_cast<int>(node.kind)) + "@" + std::to_string(node.line) + ":" +
         std::to_string(node.column) + "\"" + std::string(node.text) + "\"";
  for (const Node* item : node.items) {
    out += " - ";
    print(*item, out);
  }
  for (const Node::Entry& e : node.entries) {
    out += " {" + std::string(e.key) + "@" + std::to_string(e.line) + ":" + std::to_string(e.column) + " ";
    print(*e.value, out);
    out += "}";
  }
}

std::string shown(const Tree& tree) {
  std::string out;
  if (tree.root != nullptr) print(*tree.root, out);
  return out;
}

// Whether the simple reader takes it; what it gives is then compared.
bool taken(const std::string& text) {
  if (!checked_utf8(text, "").ok()) return false;
  const auto simple = read_simple_yaml(text);
  if (!simple) return false;
  const auto full = read_full_yaml(text, "f");
  REQUIRE_MESSAGE(full.ok(), "taken, but " << full.error().message << ":\n" << text);
  REQUIRE_MESSAGE(shown(*simple) == shown(**full), text);
  return true;
}

const char* const kTaken[] = {
    "a: b\n",
    "a: b",
    "\n\n# comment\na: b # comment\n\n  # deeper\nc: d\n",
    "a:\n  b: 1\n  c: 0x10\n  d: 010\n  e: yes\n  f: ~\n  g: null\n  h: -5\n  i: 1.5\n  j: 08\nk: on\n",
    "a:\n- b\n- c: d\n  e: f\n- - g\n  - h\n-\n  i: j\nk: l\n",
    "a:\n  - b\n  - c: d\n    e:\n    - f\n    g: h\n",
    "a: {b: c, d: [e, f, {g: h}], i: {}, j: []}\n",
    "a: {\"b\":c, \"d\": \"e\", 'f':'g'}\n",
    "a: { b : c }\n",
    "a: {\n  b: c, # comment\n  d: [\ne\n,f ]}\n",
    "a: \"q \\\" \\\\ \\n \\t \\/ é\"\nb: 'it''s'\n\"c d\": e\n'f' : g\n",
    "a: http://x/y:80?z#w\nb: x #y\nc: a,b[c]{d}\ne: -x\nf: a - b\ng: é\n",
    "domains: [\"*\"]\nmatch: { prefix: \"/\" }\n",
    "address: { socket_address: { address: 127.0.0.1, port_value: 80 } }\n",
    "\"@type\": type.googleapis.com/x.Y\n",
    "a:\n    b:\n      - c\n    d: e\n",
    "a:   # comment\n  b: c\n-d: e\n",
    "a: ''\nb: \"\"\n",
    "- a\n- b: c\n",
    "a: 2147483648\nb: +5\nc: 0o7\nd: 1_000\ne: Yes\nf: yES\ng: .5\nh: <x\ni: =\n",
};

// Right or wrong YAML, but not simple: the full reader's.
const char* const kLeft[] = {
    "",
    "# nothing\n",
    "a\n",
    "a: &b c\nd: *b\n",
    "a: |\n  b\n",
    "a: >\n  b\n",
    "a: b\n  c\n",
    "a:\n  b\n",
    "a: !x b\n",
    "? a\n: b\n",
    "a: b\n---\nc: d\n",
    "---\na: b\n",
    "a: b\n...\n",
    "%YAML 1.1\n---\na: b\n",
    "a:\nb: c\n",
    "a:\n",
    "- \n- a\n",
    "a: [b, ]\n",
    "a: [b: c]\n",
    "a: {b}\n",
    "a: {b: , c: d}\n",
    "a: {b: c?d}\n",
    "a: b: c\n",
    "a: b:\n",
    "a: [b\n c]\n",
    "a: {b: c}d\n",
    "a: {b: c}#d\n",
    "a: \"b\n  c\"\n",
    "a: \"\\x41\"\n",
    "a: b\na: c\n",
    "a: {b: c, b: d}\n",
    "a:\tb\n",
    "a: b\r\n",
    "  a: b\n",
    "a:\n    b: c\n  d: e\n",
    "a: @b\n",
    "a: `b\n",
    "a: %b\n",
    "a: b\n- c\n",
    "~: b\n",
    "a: {b: c\n---\n}\n",
    "a: [b",
    "a: {b:c}\n",
    "\"a\":b\n",
};

TEST_CASE("what the simple reader takes, and what it leaves") {
  for (const std::string text : kTaken) CHECK_MESSAGE(taken(text), text);
  for (const std::string text : kLeft) CHECK_MESSAGE(!taken(text), text);
}

TEST_CASE("texts that differ by a few characters") {
  static constexpr std::string_view kAlphabet = " \n:-,[]{}#'\"ab01?&*!|>%@~=.\\";
  Random random(11);
  size_t count = 0;
  for (int round = 0; round < 40'000; ++round) {
    std::string text = kTaken[random.below(std::size(kTaken))];
    if (random.chance(1, 4)) text += kTaken[random.below(std::size(kTaken))];
    for (uint64_t edits = 1 + random.below(3); edits > 0; --edits) {
      const size_t at = random.below(text.size() + 1);
      const char c = kAlphabet[random.below(kAlphabet.size())];
      switch (random.below(3)) {
        case 0:
          text.insert(at, 1, c);
          break;
        case 1:
          if (at < text.size()) text.erase(at, 1);
          break;
        default:
          if (at < text.size()) text[at] = c;
      }
    }
    count += taken(text);
  }
  CHECK(count > 5'000);
}

TEST_CASE("the configurations of the tests and benchmarks are simple") {
  for (const char* const name : test::kBenchConfigs) CHECK_MESSAGE(taken(test::bench_config(name)), name);
}

}  // namespace
}  // namespace sluice::config
