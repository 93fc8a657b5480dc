#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "config/tree.h"

namespace sluice::config {
namespace {

// Leaves yaml-cpp's callbacks, which is by exceptions or not at all; caught in read_yaml.
struct Refused {
  Error error;
};

class Builder : public YAML::EventHandler {
 public:
  Builder(Tree& tree, std::string_view source) : tree_(tree), source_(source) {}

  // yaml-cpp takes a stray "," for one empty document after another, without end.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 2)
      refuse(mark, "something follows the end of the document (a \",\", \"]\" or \"}\" too many?)");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (documents_ > 1) return;  // "---" at the end of a file starts an empty document
    Node& node = make(mark, Node::Kind::null, anchor);
    place(node, mark);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_document(mark);
    auto it = anchors_.find(anchor);
    if (it == anchors_.end() || it->second.open) refuse(mark, "this alias is inside its own anchor");
    alias_nodes_ += it->second.size;
    if (alias_nodes_ > kMaxAliasNodes) refuse(mark, "aliases make this document grow beyond all reason");
    if (stack_.size() + it->second.height > kMaxDepth) refuse(mark, too_deep());
    count(it->second.size, it->second.height);
    place(*it->second.node, mark);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_document(mark);
    if (expecting_key()) {
      Node& node = make(mark, Node::Kind::string, anchor);
      node.text = tree_.keep(value);
      place(node, mark);
      return;
    }
    Node& node = make(mark, Node::Kind::string, anchor);
    node.text = tree_.keep(value);
    check_tag(mark, tag);
    if (tag != "!" && tag != "tag:yaml.org,2002:str") set_plain_scalar(tree_, node, node.text);
    place(node, mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Anchor {
    const Node* node;
    bool open;    // still being read
    size_t size;  // nodes in it
    size_t height;
  };
  struct Open {
    Node* node;
    YAML::anchor_t anchor;
    size_t size = 1, height = 1;
    bool have_key = false;
    Node::Entry entry{};
    std::unordered_set<std::string_view> keys{};
    std::vector<const Node*> items{};
    std::vector<Node::Entry> entries{};
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view what) {
    throw Refused{error_at(source_, mark.line + 1, mark.column + 1, what)};
  }
  static std::string too_deep() { return "nested more than " + std::to_string(kMaxDepth) + " deep"; }

  void check_document(const YAML::Mark& mark) {
    if (documents_ > 1)
      refuse(mark,
             "a second YAML document starts before this; only one is read: remove the \"---\" or split the "
             "file");
  }
  void check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!" || tag.starts_with("tag:yaml.org,2002:")) return;
    refuse(mark,
           "the tag " + tag +
               " has no meaning in an Envoy configuration; remove it (quote a value that starts with \"!\")");
  }
  bool expecting_key() const {
    return !stack_.empty() && stack_.back().node->kind == Node::Kind::map && !stack_.back().have_key;
  }

  Node& make(const YAML::Mark& mark, Node::Kind kind, YAML::anchor_t anchor) {
    Node& node = tree_.add();
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {&node, false, 1, 1};
    count(1, 1);
    return node;
  }
  void count(size_t size, size_t height) {
    if (stack_.empty()) return;
    stack_.back().size += size;
    stack_.back().height = std::max(stack_.back().height, height + 1);
  }

  // Puts a finished or starting node where the enclosing one wants it.
  void place(const Node& node, const YAML::Mark& mark) {
    if (stack_.empty()) {
      tree_.root = &node;
      return;
    }
    Open& parent = stack_.back();
    if (parent.node->kind == Node::Kind::list) {
      parent.items.push_back(&node);
    } else if (!parent.have_key) {
      if (node.kind == Node::Kind::list || node.kind == Node::Kind::map)
        refuse(
            mark,
            "a map's key must be a plain word (is a \"{{ }}\" template left unfilled, or a quote missing?)");
      if (node.kind == Node::Kind::null) refuse(mark, "a key is missing before \":\"");
      if (!parent.keys.insert(node.text).second)
        refuse(mark, "duplicate key \"" + std::string(node.text) + "\": it is already set above; keep one");
      parent.entry = {node.text, mark.line + 1, mark.column + 1, nullptr};
      parent.have_key = true;
    } else {
      parent.entry.value = &node;
      parent.entries.push_back(parent.entry);
      parent.have_key = false;
    }
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Node::Kind kind) {
    check_document(mark);
    check_tag(mark, tag);
    if (stack_.size() >= kMaxDepth) refuse(mark, too_deep());
    Node& node = tree_.add();
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {&node, true, 1, 1};
    place(node, mark);
    stack_.push_back(Open{.node = &node, .anchor = anchor});
  }
  void close() {
    const Open done = std::move(stack_.back());
    stack_.pop_back();
    done.node->items = tree_.keep(done.items);
    done.node->entries = tree_.keep(done.entries);
    if (done.anchor != YAML::NullAnchor) anchors_[done.anchor] = {done.node, false, done.size, done.height};
    count(done.size, done.height);
  }

  Tree& tree_;
  std::string_view source_;
  std::vector<Open> stack_;
  std::unordered_map<YAML::anchor_t, Anchor> anchors_;
  size_t alias_nodes_ = 0;
  int documents_ = 0;
};

// Reads the caller's text in place.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

// yaml-cpp's message, and what is mostly meant by it. `line` counts from 0.
std::string explained(const std::string& what, std::string_view text, int line) {
  std::string out = "not valid YAML: " + what;
  for (; line > 0 && !text.empty(); --line)
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  const std::string_view indentation = text.substr(0, text.find_first_not_of(" \t"));
  if (indentation.find('\t') != std::string_view::npos) return out + " (indent with blanks, not tabs)";
  if (what.find("flow not found") != std::string::npos)
    out += " (a \"{\" or \"[\" on this line or above has no end)";
  if (what.find("token that cannot start") != std::string::npos)
    out += " (quote values that start with @, `, % or a brace)";
  if (what.find("illegal map value") != std::string::npos ||
      what.find("end of map not found") != std::string::npos)
    out += " (check the indentation of this and the line above, and quote values that hold \": \")";
  return out;
}

}  // namespace

Result<std::unique_ptr<Tree>> read_full_yaml(std::string_view text, std::string_view source) {
  auto tree = std::make_unique<Tree>();
  Builder builder(*tree, source);
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (Refused& refused) {
    return std::move(refused.error);
  } catch (const YAML::Exception& e) {
    return error_at(source, e.mark.is_null() ? 0 : e.mark.line + 1, e.mark.column + 1,
                    explained(e.msg, text, e.mark.line));
  } catch (const std::exception& e) {
    return error_at(source, 0, 0, explained(e.what(), text, 0));
  }
  return tree;
}

Result<std::unique_ptr<Tree>> read_yaml(std::string_view text, std::string_view source) {
  SLUICE_ASSIGN(text, checked_utf8(text, source));
  if (auto simple = read_simple_yaml(text)) return simple;
  return read_full_yaml(text, source);
}

}  // namespace sluice::config
