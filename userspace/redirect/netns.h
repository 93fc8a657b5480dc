#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/address.h"
#include "core/fd.h"
#include "core/result.h"

namespace sluice::redirect {

// Opens a network namespace by path; refuses what is not one.
Result<Fd> open_netns(const std::string& path);
// Runs `fn` in a network namespace, on a thread of its own: a failed way back cannot strand the caller.
Status run_in_netns(int netns_fd, const std::function<Status()>& fn);
Result<uint64_t> netns_cookie(int netns_fd);
Result<uint64_t> own_netns_cookie();
// The source address that the kernel gives to connections that leave the namespace by its default route; where there is
// no such route, the first address that is neither loopback nor link-local. Empty: the family has none.
struct SourceAddresses {
  std::optional<IpAddress> v4, v6;
};
Result<SourceAddresses> source_addresses(int netns_fd);
// Names a namespace: two paths to the same one give the same number. ENOENT: the path is gone.
Result<uint64_t> netns_inode(const std::string& path);
// A path that leads there now: a name in /run/netns, or of a process that lives in it. Empty: nobody uses it.
std::string find_netns(uint64_t inode);

// A bind mount keeps the namespace openable when the process that showed it has gone.
Status bind_netns(int netns_fd, const std::string& path);
void unbind_netns(const std::string& path);

}  // namespace sluice::redirect
