#include "redirect/host.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

namespace sluice::redirect {
namespace {

constexpr char kDefaultBpffs[] = "/sys/fs/bpf";

bool is_bpffs(const std::string& path) {
  struct statfs fs{};
  return ::statfs(path.c_str(), &fs) == 0 && static_cast<uint32_t>(fs.f_type) == BPF_FS_MAGIC;
}

// mountinfo writes blanks and backslashes as \040 and \134.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool octal = text[i] == '\\' && i + 3 < text.size();
    for (size_t k = 1; octal && k <= 3; ++k) octal = text[i + k] >= '0' && text[i + k] <= '7';
    if (!octal) {
      out += text[i];
      continue;
    }
    out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}

std::string parent_of(const std::string& path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::string> find_cgroup2() {
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    // ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE SUPEROPTIONS
    size_t dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream fields(line);
    std::string skip, mount_point;
    fields >> skip >> skip >> skip >> skip >> mount_point;
    return unescape(mount_point);
  }
  return Error{"cgroup v2 is not mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup/unified", ENOENT};
}

Result<uint64_t> cgroup_id_of(const std::string& path) {
  struct statfs fs{};
  if (::statfs(path.c_str(), &fs) != 0) return errno_error(errno, "cgroup " + path);
  if (static_cast<uint32_t>(fs.f_type) != CGROUP2_SUPER_MAGIC)
    return Error{path + " is not in a cgroup v2 hierarchy (cgroup v1 has no socket hooks)", EINVAL};
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error(errno, "cgroup " + path);
  return static_cast<uint64_t>(st.st_ino);
}

bool on_bpffs(const std::string& path) {
  return is_bpffs(path);
}

std::string find_cgroup(const std::string& root, uint64_t id) {
  struct stat st{};
  if (::lstat(root.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return "";
  if (st.st_ino == id) return root;
  DIR* d = ::opendir(root.c_str());
  if (!d) return "";
  std::string found;
  while (dirent* e = found.empty() ? ::readdir(d) : nullptr)
    if (e->d_type == DT_DIR && e->d_name[0] != '.') found = find_cgroup(root + "/" + e->d_name, id);
  ::closedir(d);
  return found;
}

Result<std::string> ensure_bpffs(const std::string& root) {
  std::string mounted;
  std::string existing = root;
  struct stat st{};
  while (existing != "/" && ::stat(existing.c_str(), &st) != 0) existing = parent_of(existing);
  if (!is_bpffs(existing)) {
    // The customary place when the root is below it, else the root itself.
    std::string where = root.rfind(std::string(kDefaultBpffs) + "/", 0) == 0 ? kDefaultBpffs : root;
    SLUICE_TRY(make_dirs(where));
    if (::mount("bpf", where.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
      return errno_error(errno, "no bpffs at " + where +
                                    " and it cannot be mounted (CAP_SYS_ADMIN is needed, or in a "
                                    "container: mount the host's /sys/fs/bpf)");
    mounted = where;
  }
  SLUICE_TRY(make_dirs(root));
  return mounted;
}

Status make_dirs(const std::string& path) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) return errno_error(errno, "directory " + part);
    if (at != std::string::npos) ++at;
  }
  return {};
}

std::vector<std::string> list_dir(const std::string& path) {
  std::vector<std::string> names;
  DIR* d = ::opendir(path.c_str());
  if (!d) return names;
  while (dirent* e = ::readdir(d)) {
    std::string name = e->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  ::closedir(d);
  std::sort(names.begin(), names.end());
  return names;
}

void remove_tree(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) return;
  if (!S_ISDIR(st.st_mode)) {
    ::unlink(path.c_str());
    return;
  }
  for (const auto& name : list_dir(path)) remove_tree(path + "/" + name);
  ::rmdir(path.c_str());
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return errno_error(errno ? errno : ENOENT, path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

Status write_file_atomically(const std::string& path, const std::string& text) {
  std::string tmp = path + ".tmp";
  Fd fd(::open(tmp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return errno_error(errno, tmp);
  size_t done = 0;
  while (done < text.size()) {
    ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, tmp);
    done += static_cast<size_t>(n);
  }
  if (::rename(tmp.c_str(), path.c_str()) != 0) return errno_error(errno, path);
  return {};
}

Result<Fd> lock_dir(const std::string& state_dir) {
  SLUICE_TRY(make_dirs(state_dir));
  std::string path = state_dir + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return errno_error(errno, path);
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return errno_error(errno, "lock " + path);
  return fd;
}

}  // namespace sluice::redirect
