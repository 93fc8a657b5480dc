#include "config/path.h"

#include <vector>

namespace sluice::config {

std::string FieldPath::to_string() const {
  std::vector<const FieldPath*> links;
  for (const FieldPath* p = this; p != nullptr; p = p->parent_) links.push_back(p);
  std::string out;
  for (auto it = links.rbegin(); it != links.rend(); ++it) {
    const FieldPath& link = **it;
    switch (link.kind_) {
      case Kind::field:
        if (!out.empty() && !link.name_.empty()) out += '.';
        out += link.name_;
        break;
      case Kind::item:
        out += '[' + std::to_string(link.index_) + ']';
        break;
      case Kind::key:
        out += "[\"";
        out += link.name_;
        out += "\"]";
        break;
    }
  }
  return out;
}

std::string FieldPath::error(std::string_view what) const {
  std::string out = to_string();
  if (!out.empty()) out += ": ";
  out += what;
  return out;
}

}  // namespace sluice::config
