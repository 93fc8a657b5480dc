// What nearly all configurations are made of, without a general YAML parser's cost. Whatever is unusual, and all that is
// wrong, is left to the full reader: this one gives up rather than decide. The unit tests put the same texts to both.
#include <utility>
#include <vector>

#include "config/tree.h"

namespace sluice::config {
namespace {

constexpr size_t kMaxKey = 1000;  // YAML allows 1024 to the ":"

// A set of characters, as a table.
class Chars {
 public:
  constexpr explicit Chars(std::string_view set) {
    for (const char c : set) in_[static_cast<unsigned char>(c)] = true;
  }
  constexpr bool has(char c) const { return in_[static_cast<unsigned char>(c)]; }

 private:
  bool in_[256] = {};
};
constexpr Chars kDocument("%-."), kQuotes("\"'"), kFlow("[{"), kFlowEnds(",[]{}"),
    kNotPlain(" \n,[]{}#&*!|>'\"%@`?:");

class SimpleReader {
 public:
  SimpleReader(std::string_view text, Tree& tree) : text_(text), tree_(tree) {}

  bool document() {
    if (!next_line() || column_ != 0) return false;
    const Node* root = block(0, 0);
    tree_.root = root;
    return root != nullptr && at_ == text_.size();
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool at_end() const { return at_ == text_.size() || text_[at_] == '\n'; }  // of the line
  bool blank_at(size_t i) const { return i >= text_.size() || text_[i] == ' ' || text_[i] == '\n'; }
  int column() const { return static_cast<int>(at_ - line_start_) + 1; }

  Node& add(Node::Kind kind) {
    Node& node = tree_.add();
    node.kind = kind;
    node.line = line_;
    node.column = column();
    return node;
  }

  // ---- blanks ----

  void skip_spaces() {
    while (peek() == ' ') ++at_;
  }
  // What may follow a value on its line: blanks and, after one, a comment. Goes to the line's end.
  bool rest_is_blank() {
    const size_t from = at_;
    skip_spaces();
    if (peek() == '#') {
      if (at_ == from && at_ > line_start_) return false;
      at_ = std::min(text_.find('\n', at_), text_.size());
    }
    return at_end();
  }
  void step_line() {
    ++at_;
    ++line_;
    line_start_ = at_;
  }
  // From the end of a line, or the start of the text, to the first character of the next line that has something, and its
  // column_. At the end of the text column_ is -1. False: not for this reader.
  bool next_line() {
    for (;;) {
      if (at_ < text_.size() && text_[at_] == '\n') step_line();
      if (kDocument.has(peek()) && at_ == line_start_ && !line_may_start()) return false;
      skip_spaces();
      if (at_ == text_.size()) {
        column_ = -1;
        return true;
      }
      if (peek() == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        continue;
      }
      if (peek() == '\n') continue;
      column_ = static_cast<int>(at_ - line_start_);
      return true;
    }
  }
  // "---", "..." and "%" at the start of a line speak of documents.
  bool line_may_start() const {
    const std::string_view line = text_.substr(at_, 3);
    return peek() != '%' && line != "---" && line != "...";
  }

  // ---- blocks ----

  // The list or map whose first entry is here, at this column of its line. Ends before the first line that is not its own:
  // column_ is that line's. Null: not for this reader.
  const Node* block(int indent, size_t depth) {
    if (depth > kMaxDepth / 2) return nullptr;
    if (peek() == '-' && blank_at(at_ + 1)) return list(indent, depth);
    return map(indent, depth);
  }

  const Node* list(int indent, size_t depth) {
    Node& node = add(Node::Kind::list);
    const size_t first = items_.size();
    do {
      if (peek() != '-' || !blank_at(at_ + 1))
        break;  // the list stands at the column of its map, which goes on
      const size_t dash = ++at_;
      skip_spaces();
      const Node* item;
      if (at_end() || peek() == '#') {
        at_ = dash;
        if (!rest_is_blank() || !next_line() || column_ <= indent) return nullptr;
        item = block(column_, depth + 1);
      } else if (peek() == '-' && blank_at(at_ + 1)) {
        item = block(column() - 1, depth + 1);
      } else {
        item = entry_value(indent, depth, true);
      }
      if (item == nullptr) return nullptr;
      items_.push_back(item);
    } while (column_ == indent);
    node.items = tree_.keep(std::span(items_).subspan(first));
    items_.resize(first);
    return column_ > indent ? nullptr : &node;
  }

  const Node* map(int indent, size_t depth) {
    Node& node = add(Node::Kind::map);
    KeySet keys;
    const size_t first = entries_.size();
    do {
      Node::Entry entry{.key = {}, .line = line_, .column = column(), .value = nullptr};
      if (!key(entry.key)) return nullptr;
      if (!keys.add(std::span(entries_).subspan(first), entry.key)) return nullptr;
      ++at_;  // the ":"
      entry.value = map_value(indent, depth);
      if (entry.value == nullptr) return nullptr;
      entries_.push_back(entry);
    } while (column_ == indent);
    node.entries = tree_.keep(std::span(entries_).subspan(first));
    entries_.resize(first);
    return column_ > indent ? nullptr : &node;
  }

  // After "key:".
  const Node* map_value(int indent, size_t depth) {
    const size_t colon = at_;
    skip_spaces();
    if (!at_end() && peek() != '#') return entry_value(indent, depth, false);
    at_ = colon;
    if (!rest_is_blank() || !next_line()) return nullptr;
    const bool list_here = column_ == indent && peek() == '-' && blank_at(at_ + 1);
    return column_ > indent || list_here ? block(column_, depth + 1) : nullptr;
  }

  // What stands on this line after "- " or "key: ", and what belongs to it; then the next line.
  const Node* entry_value(int indent, size_t depth, bool may_be_map) {
    if (may_be_map && !kFlow.has(peek())) {
      // A map whose first key is here, or a scalar.
      const size_t start = at_;
      std::string_view ignored;
      const bool is_map = key(ignored);
      at_ = start;
      if (is_map) return block(column() - 1, depth + 1);
    }
    const Node* node = kFlow.has(peek()) ? flow(depth + 1) : scalar(false);
    if (node == nullptr || !rest_is_blank() || !next_line()) return nullptr;
    return column_ > indent ? nullptr : node;  // a deeper line would go on with a plain scalar, or be wrong
  }

  // A key of a block map; at its ":" afterwards, which a blank or the line's end follows.
  bool key(std::string_view& out) {
    const size_t start = at_;
    if (kQuotes.has(peek()) ? !quoted(out) : !plain(out, false) || is_yaml_null(out)) return false;
    skip_spaces();
    return at_ - start <= kMaxKey && peek() == ':' && blank_at(at_ + 1);
  }

  // ---- scalars ----

  // Ends where the next token may begin: blanks behind it are not its own.
  bool plain(std::string_view& out, bool in_flow) {
    const char first = peek();
    if (at_end() || kNotPlain.has(first) || (first == '-' && blank_at(at_ + 1))) return false;
    if (first == '-' && in_flow && kFlowEnds.has(peek(1))) return false;
    size_t i = at_;
    for (; i < text_.size(); ++i) {
      const char c = text_[i];
      if (c == '\n') break;
      if (c == ':' && (blank_at(i + 1) || (in_flow && kFlowEnds.has(text_[i + 1])))) break;
      if (c == '#' && text_[i - 1] == ' ') break;
      if (!in_flow) continue;
      if (c == '?') return false;
      if (kFlowEnds.has(c)) break;
    }
    while (text_[i - 1] == ' ') --i;
    out = text_.substr(at_, i - at_);
    at_ = i;
    return true;
  }

  // At the quote that begins it; behind the one that ends it afterwards.
  bool quoted(std::string_view& out) {
    const char quote = text_[at_++];
    const size_t start = at_;
    std::string text;  // where the text as it stands is not the string
    size_t run = start;
    for (; !at_end(); ++at_) {
      const char c = text_[at_];
      if (c == '\\' && quote == '"') {
        static constexpr std::string_view kFrom = "\"\\/nt", kTo = "\"\\/\n\t";
        const size_t escape = kFrom.find(peek(1));
        if (escape == std::string_view::npos) return false;
        text.append(text_, run, at_ - run);
        text += kTo[escape];
        run = ++at_ + 1;
      } else if (c == quote) {
        if (quote == '\'' && peek(1) == '\'') {
          text.append(text_, run, at_ - run + 1);
          run = ++at_ + 1;
          continue;
        }
        if (run == start) {
          out = text_.substr(start, at_ - start);
        } else {
          text.append(text_, run, at_ - run);
          out = tree_.keep(text);
        }
        ++at_;
        return true;
      }
    }
    return false;  // goes on on the next line
  }

  const Node* scalar(bool in_flow) {
    Node& node = add(Node::Kind::string);
    if (kQuotes.has(peek())) return quoted(node.text) ? &node : nullptr;
    std::string_view text;
    if (!plain(text, in_flow)) return nullptr;
    if (is_yaml_null(text))
      node.kind = Node::Kind::null;
    else
      set_plain_scalar(tree_, node, text);
    return &node;
  }

  // ---- flow collections ----

  // Blanks, comments and line ends.
  bool skip_flow() {
    for (;;) {
      const size_t from = at_;
      skip_spaces();
      if (peek() == '#') {
        if (at_ == from && at_ > line_start_) return false;
        at_ = std::min(text_.find('\n', at_), text_.size());
      }
      if (at_ == text_.size()) return false;
      if (text_[at_] != '\n') return true;
      step_line();
      if (at_ < text_.size() && kDocument.has(peek()) && !line_may_start()) return false;
    }
  }

  const Node* flow(size_t depth) {
    if (depth > kMaxDepth / 2) return nullptr;
    return peek() == '[' ? flow_list(depth) : flow_map(depth);
  }

  const Node* flow_value(size_t depth) { return kFlow.has(peek()) ? flow(depth + 1) : scalar(true); }

  // Behind an entry: "," and something, or the end. False: neither.
  bool flow_goes_on(char end, bool& over) {
    if (!skip_flow()) return false;
    over = peek() == end;
    if (!over && peek() != ',') return false;
    ++at_;
    return over || (skip_flow() && peek() != end);
  }

  const Node* flow_list(size_t depth) {
    Node& node = add(Node::Kind::list);
    ++at_;
    if (!skip_flow()) return nullptr;
    const size_t first = items_.size();
    bool over = peek() == ']';
    if (over) ++at_;
    while (!over) {
      const Node* item = flow_value(depth);
      if (item == nullptr || !flow_goes_on(']', over)) return nullptr;
      items_.push_back(item);
    }
    node.items = tree_.keep(std::span(items_).subspan(first));
    items_.resize(first);
    return &node;
  }

  const Node* flow_map(size_t depth) {
    Node& node = add(Node::Kind::map);
    ++at_;
    if (!skip_flow()) return nullptr;
    KeySet keys;
    const size_t first = entries_.size();
    bool over = peek() == '}';
    if (over) ++at_;
    while (!over) {
      Node::Entry entry{.key = {}, .line = line_, .column = column(), .value = nullptr};
      const bool json = kQuotes.has(peek());
      const size_t start = at_;
      if (json ? !quoted(entry.key) : !plain(entry.key, true) || is_yaml_null(entry.key)) return nullptr;
      skip_spaces();
      if (at_ - start > kMaxKey || peek() != ':' || (!json && !blank_at(at_ + 1))) return nullptr;
      if (!keys.add(std::span(entries_).subspan(first), entry.key)) return nullptr;
      ++at_;
      if (!skip_flow()) return nullptr;
      entry.value = flow_value(depth);
      if (entry.value == nullptr || !flow_goes_on('}', over)) return nullptr;
      entries_.push_back(entry);
    }
    node.entries = tree_.keep(std::span(entries_).subspan(first));
    entries_.resize(first);
    return &node;
  }

  const std::string_view text_;
  Tree& tree_;
  size_t at_ = 0, line_start_ = 0;
  int line_ = 1;
  int column_ = 0;  // of the line that next_line() has found, from 0; -1: none
  // Of the maps and lists that are open; the innermost one's are the last.
  std::vector<const Node*> items_;
  std::vector<Node::Entry> entries_;
};

}  // namespace

std::unique_ptr<Tree> read_simple_yaml(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') return nullptr;  // tabs, carriage returns
  auto tree = std::make_unique<Tree>();
  if (!SimpleReader(text, *tree).document()) return nullptr;
  return tree;
}

}  // namespace sluice::config
