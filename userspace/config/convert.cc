#include "config/convert.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <functional>

namespace sluice::config {

namespace core = envoy::config::core::v3;
namespace pb = google::protobuf;

Result<Address> to_address(const core::SocketAddress& address, const FieldPath& path,
                           std::string_view remedy) {
  if (address.protocol() != core::SocketAddress::TCP)
    return refuse(path.field("protocol"), "UDP is not supported by this version of Sluice; only TCP is");
  auto ip = IpAddress::parse(address.address());
  if (!ip.ok()) {
    std::string what = "malformed IP address: " + address.address();
    if (!remedy.empty()) what += ". " + std::string(remedy);
    return refuse(path.field("address"), what);
  }
  return Address(*ip, static_cast<uint16_t>(address.port_value()));
}

Result<Address> to_address(const core::Address& address, const FieldPath& path, std::string_view remedy) {
  if (address.has_socket_address())
    return to_address(address.socket_address(), path.field("socket_address"), remedy);
  if (!address.has_pipe()) return refuse(path, "an address is required (socket_address or pipe)");
  auto pipe = Address::pipe(address.pipe().path());
  const FieldPath at = path.field("pipe");
  if (!pipe.ok()) return refuse(at.field("path"), pipe.error().message);
  return pipe;
}

io::SocketOptions::Raw int_option(int level, int name, int value) {
  return {level, name, std::string(reinterpret_cast<const char*>(&value), sizeof value)};
}

Status add_socket_options(const SocketOptionList& list, const FieldPath& path, io::SocketOptions& into) {
  for (int i = 0; i < list.size(); ++i) {
    const core::SocketOption& option = list[i];
    const FieldPath at = path.item(static_cast<size_t>(i));
    if (option.state() != core::SocketOption::STATE_PREBIND)
      return refuse(at.field("state"), "only STATE_PREBIND is supported by this version of Sluice");
    const auto level = static_cast<int>(option.level()), name = static_cast<int>(option.name());
    if (option.has_int_value()) {
      into.raw.push_back(int_option(level, name, static_cast<int>(option.int_value())));
    } else {
      into.raw.push_back({level, name, option.buf_value()});
    }
  }
  return {};
}

uint64_t hash_of(const pb::Message& message) {
  std::string bytes;
  {
    pb::io::StringOutputStream stream(&bytes);
    pb::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializePartialToCodedStream(&coded);
  }
  return std::hash<std::string>()(bytes);
}

}  // namespace sluice::config
