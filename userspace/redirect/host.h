#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"

// The host's file systems as the BPF side needs them.
namespace sluice::redirect {

// Where cgroup v2 is mounted, from mountinfo; it may be anywhere. Error: it is not.
Result<std::string> find_cgroup2();
// The cgroup v2 id of a directory: its inode.
Result<uint64_t> cgroup_id_of(const std::string& path);

// The cgroup with this id, at or below `root`; empty: there is none.
std::string find_cgroup(const std::string& root, uint64_t id);

// Makes `root` a directory in a bpffs, mounting one if there is none; returns the path it mounted, or "".
Result<std::string> ensure_bpffs(const std::string& root);
bool on_bpffs(const std::string& path);

Status make_dirs(const std::string& path);      // mkdir -p
void remove_tree(const std::string& path);  // works in bpffs too; errors are left to the caller's own look
std::vector<std::string> list_dir(
    const std::string& path);  // names, sorted; empty when there is no such directory
Result<std::string> read_file(const std::string& path);
Status write_file_atomically(const std::string& path, const std::string& text);

// One change at a time on a node: held while it lives.
Result<Fd> lock_dir(const std::string& state_dir);

}  // namespace sluice::redirect
