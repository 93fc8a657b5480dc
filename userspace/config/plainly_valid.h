#pragma once

#include <memory>
#include <string_view>

#include "config/path.h"
#include "core/result.h"

namespace google::protobuf {
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace sluice::config {

class HonouredFields;

// Steps 3 and 4 (README.md) for messages in which nothing is wrong, which nearly all are: one walk over the bytes, by
// tables that are made of descriptors, rules and lists once a type. A few nanoseconds a field, where reflection takes
// hundreds. It knows only what is common, and gives up on anything else, right or wrong.
class PlainlyValid {
 public:
  // The lists outlive it and do not change any more.
  explicit PlainlyValid(const HonouredFields& lists);
  ~PlainlyValid();

  // True: the bytes parse as a message of the type, of which neither validate() nor HonouredFields::check() says anything.
  // False: nobody knows. Any thread; one at a time walks.
  bool operator()(const google::protobuf::Descriptor& type, std::string_view bytes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Both steps. `bytes`: those that the message was parsed from; empty: the caller does not have them.
Status check(const google::protobuf::Message& message, const HonouredFields& honoured, const FieldPath& path,
             std::string_view bytes = {});

}  // namespace sluice::config
