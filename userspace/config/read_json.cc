#include <unordered_set>
#include <vector>

#include "config/tree.h"

namespace sluice::config {
namespace {

// RFC 8259, strictly; recursion is bounded by kMaxDepth.
class Reader {
 public:
  Reader(std::string_view text, std::string_view source, Tree& tree)
      : text_(text), source_(source), tree_(tree) {}

  Status document() {
    SLUICE_ASSIGN(tree_.root, value(0));
    skip_blanks();
    if (at_ < text_.size()) return fail("something follows the end of the JSON document");
    return {};
  }

 private:
  Error fail(std::string_view what) const {
    return error_at(source_, line_, static_cast<int>(at_ - line_start_) + 1, what);
  }
  void skip_blanks() {
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      } else if (c != ' ' && c != '\t' && c != '\r') {
        return;
      }
    }
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  Result<const Node*> value(size_t depth) {
    if (depth > kMaxDepth) return fail("nested more than " + std::to_string(kMaxDepth) + " deep");
    skip_blanks();
    Node& node = tree_.add();
    node.line = line_;
    node.column = static_cast<int>(at_ - line_start_) + 1;
    const char c = peek();
    if (c == '{') {
      SLUICE_TRY(map(node, depth));
    } else if (c == '[') {
      SLUICE_TRY(list(node, depth));
    } else if (c == '"') {
      node.kind = Node::Kind::string;
      SLUICE_ASSIGN(node.text, string());
    } else if (c == '-' || (c >= '0' && c <= '9')) {
      node.kind = Node::Kind::number;
      SLUICE_ASSIGN(node.text, number());
    } else {
      SLUICE_TRY(word(node));
    }
    return &node;
  }

  Status word(Node& node) {
    for (std::string_view w : {"true", "false", "null"}) {
      if (text_.substr(at_, w.size()) != w) continue;
      at_ += w.size();
      node.kind = w == "null" ? Node::Kind::null : Node::Kind::boolean;
      if (w != "null") node.text = w;
      return {};
    }
    if (at_ >= text_.size()) return fail("the JSON document ends here, before it is complete");
    if (peek() == '/' || peek() == '#') return fail("JSON has no comments; use a .yaml file for that");
    if (peek() == '\'') return fail("JSON strings are quoted with \"");
    return fail("expected a JSON value here");
  }

  Status list(Node& node, size_t depth) {
    node.kind = Node::Kind::list;
    ++at_;
    skip_blanks();
    if (take(']')) return {};
    std::vector<const Node*> items;
    for (;;) {
      SLUICE_ASSIGN(const Node* item, value(depth + 1));
      items.push_back(item);
      skip_blanks();
      if (take(']')) {
        node.items = tree_.keep(items);
        return {};
      }
      if (!take(',')) return fail("expected \",\" or \"]\" here");
    }
  }

  Status map(Node& node, size_t depth) {
    node.kind = Node::Kind::map;
    ++at_;
    skip_blanks();
    if (take('}')) return {};
    KeySet keys;
    std::vector<Node::Entry> entries;
    for (;;) {
      skip_blanks();
      if (peek() != '"') return fail("expected a key in double quotes here");
      Node::Entry entry{
          .key = {}, .line = line_, .column = static_cast<int>(at_ - line_start_) + 1, .value = nullptr};
      SLUICE_ASSIGN(entry.key, string());
      if (!keys.add(entries, entry.key))
        return error_at(
            source_, entry.line, entry.column,
            "duplicate key \"" + std::string(entry.key) + "\": it is already set above; keep one");
      skip_blanks();
      if (!take(':')) return fail("expected \":\" after the key");
      SLUICE_ASSIGN(entry.value, value(depth + 1));
      entries.push_back(entry);
      skip_blanks();
      if (take('}')) {
        node.entries = tree_.keep(entries);
        return {};
      }
      if (!take(',')) return fail("expected \",\" or \"}\" here");
    }
  }

  Result<std::string_view> number() {
    const size_t start = at_;
    auto digits = [&] {
      const size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      return at_ - first;
    };
    take('-');
    const bool zero = peek() == '0';
    const size_t whole = digits();
    if (whole == 0 || (zero && whole > 1)) return fail("not a JSON number");
    if (take('.') && digits() == 0) return fail("not a JSON number: digits must follow the point");
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (!take('+')) take('-');
      if (digits() == 0) return fail("not a JSON number: digits must follow the exponent");
    }
    return text_.substr(start, at_ - start);
  }

  Result<unsigned> hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return fail("four hexadecimal digits must follow \\u");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }

  static void append_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0 | code >> 6);
      out += static_cast<char>(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xe0 | code >> 12);
      out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
      out += static_cast<char>(0x80 | (code & 0x3f));
    } else {
      out += static_cast<char>(0xf0 | code >> 18);
      out += static_cast<char>(0x80 | (code >> 12 & 0x3f));
      out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
      out += static_cast<char>(0x80 | (code & 0x3f));
    }
  }

  Status escape(std::string& out) {
    ++at_;
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t i = kFrom.find(peek()); at_ < text_.size() && i != std::string_view::npos) {
      out += kTo[i];
      ++at_;
      return {};
    }
    if (!take('u')) return fail("unknown escape in a JSON string");
    SLUICE_ASSIGN(unsigned code, hex4());
    if (code >= 0xd800 && code < 0xdc00) {
      if (!take('\\') || !take('u')) return fail("half of a surrogate pair");
      SLUICE_ASSIGN(const unsigned low, hex4());
      if (low < 0xdc00 || low > 0xdfff) return fail("half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    } else if (code >= 0xdc00 && code < 0xe000) {
      return fail("half of a surrogate pair");
    }
    append_utf8(out, code);
    return {};
  }

  Result<std::string_view> string() {
    std::string out;  // where the text as it stands is not the string
    ++at_;
    for (;;) {
      const size_t run = text_.find_first_of("\"\\\n", at_);
      if (run == std::string_view::npos) {
        at_ = text_.size();
        return fail("this JSON string has no end");
      }
      for (size_t i = at_; i < run; ++i) {
        if (static_cast<unsigned char>(text_[i]) >= 0x20) continue;
        at_ = i;
        return fail("a control character in a JSON string must be escaped");
      }
      if (text_[run] == '"' && out.empty()) {
        const std::string_view whole = text_.substr(at_, run - at_);
        at_ = run + 1;
        return whole;
      }
      out.append(text_, at_, run - at_);
      at_ = run;
      if (text_[run] == '\n') return fail("this JSON string has no end on its line");
      if (text_[run] == '\\') {
        SLUICE_TRY(escape(out));
        continue;
      }
      ++at_;
      return tree_.keep(out);
    }
  }

  std::string_view text_, source_;
  Tree& tree_;
  size_t at_ = 0, line_start_ = 0;
  int line_ = 1;
};

}  // namespace

Result<std::unique_ptr<Tree>> read_json(std::string_view text, std::string_view source) {
  SLUICE_ASSIGN(text, checked_utf8(text, source));
  auto tree = std::make_unique<Tree>();
  SLUICE_TRY(Reader(text, source, *tree).document());
  return tree;
}

}  // namespace sluice::config
