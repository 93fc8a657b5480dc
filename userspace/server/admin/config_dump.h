#pragma once

#include "server/admin/server.h"
#include "server/admin/view.h"

namespace google::protobuf {
class Message;
}

namespace sluice::admin {

// /config_dump with resource, mask, name_regex and include_eds.
void config_dump(const Request& request, Reply reply, View& view);

// Keeps of `message` what the mask's paths name ("bootstrap.admin", "cluster.name": an Any is looked into).
// False: a path names a field that is not there, or goes on behind a repeated one.
bool apply_mask(const std::vector<std::string>& paths, google::protobuf::Message& message);

}  // namespace sluice::admin
