#pragma once

#include <cstdint>

#include "core/result.h"

// What a namespace needs so that the proxy may call its application under the caller's address (the original_src listener
// filter). The proxy's socket has an address that is not the namespace's, so the application's answers, sent to it, would
// leave by the default route. They have to come back over lo: the application's socket inherits the mark of the SYN it
// accepts (net.ipv4.tcp_fwmark_accept=1, both families), and a rule sends that mark to a table that says "all of it is
// local". In IPv4 and IPv6, as `ip` would write it:
//
//   ip rule add fwmark MARK lookup 1338 priority 100 protocol 83
//   ip route add local default dev lo table 1338 protocol 83
//
// Everything carries our protocol number, so that only what is ours is ever removed.
namespace sluice::redirect {

constexpr uint32_t kReturnTable = 1338;  // 0x53a, as the mark
constexpr uint32_t kReturnPriority =
    100;  // after `local` (0), before what a CNI plugin usually adds, and `main`
constexpr uint8_t kReturnProtocol = 83;  // 0x53; nobody's in iproute2's rt_protos

// net.ipv4.tcp_fwmark_accept of the namespace: 0 or 1.
Result<int> fwmark_accept(int netns_fd);
// Makes what is missing; where the namespace has no IPv6, for IPv4 alone. Undone on error, with the sysctl back at
// `accept_before`. The error says what to do.
Status make_return_path(int netns_fd, uint32_t mark, int accept_before);
// Removes what is ours and sets the sysctl back, unless `accept_before` is negative. Not an error: nothing is there.
Status remove_return_path(int netns_fd, int accept_before);
// ENOENT, with the name of the first part that is missing, unless it is whole.
Status check_return_path(int netns_fd);
// EEXIST, with the name of the first part that is (still) there, unless rules and routes are gone.
Status check_no_return_path(int netns_fd);
// Makes it in a namespace of its own, that is gone afterwards: will this kernel, and our capabilities, do it?
Status probe_return_path(uint32_t mark);

}  // namespace sluice::redirect
