#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "config/path.h"
#include "config/tree.h"
#include "core/result.h"

namespace sluice::config {

// Writes a document into a message, by reflection: protobuf's JSON mapping as Envoy reads it (see
// yaml_json.h).
class Filler {
 public:
  explicit Filler(std::string_view source) : source_(source) {}
  Status message(const Node& node, const FieldPath& path, google::protobuf::Message& into,
                 std::string_view skip = {});

 private:
  using Field = google::protobuf::FieldDescriptor;
  using Message = google::protobuf::Message;

  Error fail(const Node& node, const FieldPath& path, std::string_view what) const {
    return error_at(source_, node.line, node.column, path.error(what));
  }
  Error wrong_kind(const Node& node, const FieldPath& path, std::string_view expected) const;

  // A message and its reflection, which costs something to ask for.
  struct Target {
    explicit Target(Message& m) : message(m), reflection(*m.GetReflection()) {}
    Message& message;
    const google::protobuf::Reflection& reflection;
  };
  Status fields(const Node& node, const FieldPath& path, Message& into,
                const google::protobuf::Descriptor& type, std::string_view skip);
  Status field(const Node& node, const FieldPath& path, Target into, const Field& field);
  Status repeated(const Node& node, const FieldPath& path, Target into, const Field& field);
  Status map(const Node& node, const FieldPath& path, Target into, const Field& field);
  // Sets a singular field, or adds to a repeated one.
  Status scalar(const Node& node, const FieldPath& path, Target target, const Field& field);

  // fill_well_known.cc
  bool is_well_known(const google::protobuf::Descriptor& type) const;
  Status well_known(const Node& node, const FieldPath& path, Message& into,
                    const google::protobuf::Descriptor& type);
  Status any(const Node& node, const FieldPath& path, Message& into);
  Status duration(const Node& node, const FieldPath& path, Message& into);
  Status timestamp(const Node& node, const FieldPath& path, Message& into);
  Status field_mask(const Node& node, const FieldPath& path, Message& into);
  Status value(const Node& node, const FieldPath& path, Message& into);
  Status structure(const Node& node, const FieldPath& path, Message& into);

  // The fields of a type by both their names.
  using Fields = std::unordered_map<std::string_view, const Field*>;
  const Field* find_field(const google::protobuf::Descriptor& type, std::string_view key);

  std::string_view source_;
  std::unordered_map<const google::protobuf::Descriptor*, Fields> types_;
  // Fields and oneofs that are set, by the key that set them, of the messages that are being read; the innermost last.
  std::vector<std::pair<const void*, std::string_view>> seen_;
};

}  // namespace sluice::config
