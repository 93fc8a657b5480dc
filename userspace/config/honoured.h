#pragma once

#include <memory>
#include <string_view>

#include "config/path.h"
#include "core/result.h"
#include "sluice/ext/honoured.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
class Message;
}  // namespace google::protobuf
namespace sluice::ext {
class Registry;
}

namespace sluice::config {

class PlainlyValid;

// "Nothing is accepted and ignored": refuses a message in which a field is set that no list names
// (ext/honoured.h), with the field's path. The core's own lists (bootstrap, listeners, clusters) stand in
// honoured_core.cc, those of extensions beside the extension.
class HonouredFields {
 public:
  HonouredFields();                                        // knows the core's lists
  explicit HonouredFields(const ext::Registry& registry);  // and the extensions'
  ~HonouredFields();
  HonouredFields(const HonouredFields&) = delete;
  HonouredFields& operator=(const HonouredFields&) = delete;

  // A list that names a message or field which is not in the API is a bug of this build: aborts with its
  // name.
  void add(const ext::Honoured& list);

  // Everything inside `message`, what an Any or a TypedStruct holds too. Also refuses fields unknown to this
  // build (newer API, binary input).
  Status check(const google::protobuf::Message& message, const FieldPath& path) const;
  // The same of a message as protobuf has serialised it.
  Status check(const google::protobuf::Descriptor& type, std::string_view serialised,
               const FieldPath& path) const;

  // Whether a message of the type may stand anywhere at all, and whether the field may be set in one.
  bool lists(const google::protobuf::Descriptor& type) const;
  bool lets_through(const google::protobuf::FieldDescriptor& field) const;
  // Looks that need no errors; made with the first one that is asked for.
  const PlainlyValid& plainly_valid() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether messages of the type are values (Struct, Duration), not sets of features: no list has them.
bool is_value(const google::protobuf::Descriptor& type);

// The core's lists.
void add_core_lists(HonouredFields& lists);
void add_route_lists(HonouredFields& lists);  // a part of them

}  // namespace sluice::config
