#pragma once

#include <string>

#include "redirect/pins.h"

// Loading and attaching: the only file that knows the skeletons.
namespace sluice::redirect {

// Loads the cgroup programs with new maps, attaches them, pins everything in a staging directory and renames it into
// place, so that what is at `paths.dir` is always whole.
Result<Maps> install(const PinPaths& paths, const Options& options, const std::string& cgroup_path);
// Loads this build's programs over the pinned maps; replaces in the links what differs, makes links that are missing.
// Refuses if the links are on another cgroup. Inbound instances likewise.
Status adopt(const PinPaths& paths, const Maps& maps, const Options& options, const std::string& cgroup_path);

// Loads everything with maps of its own and lets go of it: will this kernel take our programs?
Status probe_load(const Options& options);

// The sk_lookup instance of one workload; no-op when its link is there and whole.
Status attach_inbound(const PinPaths& paths, const Maps& maps, uint64_t netns_cookie, int netns_fd);

// The cgroup that our links say they are on; the cgroup2 root where that cannot be found.
std::string attached_cgroup(const PinPaths& paths);

// Which of our hooks are attached, and where ours stand among the programs that the kernel runs for a connect() in
// `cgroup_path` (those of its ancestors included).
Result<HookStatus> hook_status(const PinPaths& paths, const Options& options, const std::string& cgroup_path);

// Every kernel object reachable from the pins: to be gone after uninstall.
std::vector<KernelObject> pinned_objects(const PinPaths& paths);

}  // namespace sluice::redirect
