#pragma once

#include <memory>
#include <string>

#include "config/path.h"
#include "core/result.h"

namespace google::protobuf {
class Any;
class Message;
}  // namespace google::protobuf

namespace sluice::config {

// The message an Any holds; of a TypedStruct (udpa or xds) the message its Struct describes, as in Envoy.
// Unknown types, broken bytes and fields that do not fit are errors with `path`.
Result<std::unique_ptr<google::protobuf::Message>> unpack(const google::protobuf::Any& any,
                                                          const FieldPath& path);

}  // namespace sluice::config
