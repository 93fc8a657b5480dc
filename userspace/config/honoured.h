#pragma once

#include <memory>
#include <string_view>

#include "config/path.h"
#include "core/result.h"
#include "sluice/ext/honoured.h"

namespace google::protobuf {
class Message;
}
namespace sluice::ext {
class Registry;
}

namespace sluice::config {

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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The core's lists.
void add_core_lists(HonouredFields& lists);
void add_route_lists(HonouredFields& lists);  // a part of them

}  // namespace sluice::config
