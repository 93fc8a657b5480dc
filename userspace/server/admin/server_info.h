#pragma once

#include "envoy/admin/v3/server_info.pb.h"
#include "server/admin/view.h"

namespace sluice::admin {

envoy::admin::v3::ServerInfo server_info(View& view, State state);

}  // namespace sluice::admin
