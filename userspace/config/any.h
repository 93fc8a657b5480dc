#pragma once

#include <memory>
#include <string>

#include "config/path.h"
#include "core/result.h"

namespace google::protobuf {
class Any;
class Arena;
class Descriptor;
class Message;
}  // namespace google::protobuf

namespace sluice::config {

using MessagePtr = std::shared_ptr<const google::protobuf::Message>;

// The message an Any holds; of a TypedStruct (udpa or xds) the message its Struct describes, as in Envoy.
// Unknown types, broken bytes and fields that do not fit are errors with `path`.
Result<MessagePtr> unpack(const google::protobuf::Any& any, const FieldPath& path);

// The message whose bytes an Any holds, a TypedStruct too; null: the bytes are none of `type`.
MessagePtr content_of(const google::protobuf::Any& any, const google::protobuf::Descriptor& type);

// An arena for a tree of messages that lives and dies as one.
std::shared_ptr<google::protobuf::Arena> make_arena();

// While one of these exists, the content of a large Any (a connection manager with all its routes) is parsed once, however
// often this thread asks for it. One at a time.
class KeepContents {
 public:
  KeepContents();
  ~KeepContents();
  KeepContents(const KeepContents&) = delete;
  // What `any` was made of, or parsed to; nothing is kept while there is no KeepContents.
  static void add(const google::protobuf::Any& any, const MessagePtr& content);

 private:
  friend MessagePtr content_of(const google::protobuf::Any&, const google::protobuf::Descriptor&);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::config
