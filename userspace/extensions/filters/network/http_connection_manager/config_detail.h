#pragma once

#include <string>

#include "extensions/filters/network/http_connection_manager/settings.h"
#include "sluice/ext/registry.h"

namespace envoy::extensions::filters::network::http_connection_manager::v3 {
class HttpConnectionManager;
class LocalReplyConfig;
}  // namespace envoy::extensions::filters::network::http_connection_manager::v3

// The parts of config.cc. `path`: of the message that is given. For config*.cc alone.
namespace sluice::extensions::http_connection_manager {

using Proto = envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

Status add_routes(const Proto& in, ext::FactoryContext& context, const std::string& path, Settings& out);
Status add_protocols(const Proto& in, const std::string& path, Settings& out);
Status add_client_address(const Proto& in, const std::string& path, Settings& out);
Result<std::shared_ptr<const Tracing>> to_tracing(const Proto& in, ext::FactoryContext& context,
                                                  const std::string& path);
Result<LocalReplies> to_local_replies(
    const envoy::extensions::filters::network::http_connection_manager::v3::LocalReplyConfig& in,
    const std::string& path);

}  // namespace sluice::extensions::http_connection_manager
