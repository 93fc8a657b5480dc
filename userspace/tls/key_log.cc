#include "tls/key_log.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace sluice::tls {

Result<std::shared_ptr<KeyLog>> KeyLog::make(const CommonSettings::KeyLog& settings) {
  if (settings.path.empty()) return std::shared_ptr<KeyLog>();
  auto log = std::make_shared<KeyLog>();
  log->settings_ = settings;
  log->file_ = Fd(open(settings.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log->file_.valid()) return errno_error(errno, "unable to open file '" + settings.path + "'");
  return log;
}

bool KeyLog::wants(const Address* local, const Address* remote) const {
  auto fits = [](const std::vector<Cidr>& list, const Address* a) {
    return list.empty() || (a && a->is_ip() && std::any_of(list.begin(), list.end(), [&](const Cidr& c) {
                              return c.contains(a->ip());
                            }));
  };
  return fits(settings_.local, local) && fits(settings_.remote, remote);
}

void KeyLog::write(std::string_view line) {
  char newline = '\n';
  iovec parts[] = {{const_cast<char*>(line.data()), line.size()}, {&newline, 1}};
  // In one call, so that lines stay whole. A debugging aid: what the disk does not take is lost.
  if (writev(file_.get(), parts, 2) < 0) return;
}

}  // namespace sluice::tls
