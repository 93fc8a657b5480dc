#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wrappers.pb.h>

#include <cstdint>
#include <string>

#include "config/path.h"
#include "core/address.h"
#include "core/result.h"
#include "core/time.h"
#include "envoy/config/core/v3/address.pb.h"
#include "envoy/config/core/v3/socket_option.pb.h"
#include "extensions/common/proto_util.h"
#include "io/loop.h"

// Small translations shared by the translate_*.cc files.
namespace sluice::config {

inline Error refuse(const FieldPath& path, std::string_view what) {
  return Error{path.error(what)};
}

using extensions::to_duration;

// What Envoy makes of the durations of routes: fractions of a millisecond are cut off, and may leave 0.
inline Duration to_milliseconds(const google::protobuf::Duration& d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(to_duration(d));
}

// The value of a wrapper, or the default where it is absent.
template <typename Wrapper, typename T>
T value_or(bool present, const Wrapper& wrapper, T otherwise) {
  return present ? static_cast<T>(wrapper.value()) : otherwise;
}

// An IP literal and port; a host name is refused, with `remedy` added to the message. TCP only.
Result<Address> to_address(const envoy::config::core::v3::SocketAddress& address, const FieldPath& path,
                           std::string_view remedy = {});
// The same, or a Unix socket's path.
Result<Address> to_address(const envoy::config::core::v3::Address& address, const FieldPath& path,
                           std::string_view remedy = {});

using SocketOptionList = google::protobuf::RepeatedPtrField<envoy::config::core::v3::SocketOption>;
Status add_socket_options(const SocketOptionList& list, const FieldPath& path, io::SocketOptions& into);
io::SocketOptions::Raw int_option(int level, int name, int value);

// Equal messages have equal hashes, within one process.
uint64_t hash_of(const google::protobuf::Message& message);

}  // namespace sluice::config
