#include "server/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cerrno>

namespace sluice::server {
namespace {

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int s : signals) sigaddset(&set, s);
  return set;
}

}  // namespace

void Signals::block(std::initializer_list<int> signals) {
  sigset_t set = set_of(signals);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

Result<std::unique_ptr<Signals>> Signals::watch(io::Loop& loop, std::initializer_list<int> signals,
                                                std::function<void(int)> on_signal) {
  sigset_t set = set_of(signals);
  Fd fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "signalfd");
  std::unique_ptr<Signals> s(new Signals(loop, std::move(fd), std::move(on_signal)));
  loop.poll(s->op_, s->fd_.get(), POLLIN);
  return s;
}

Signals::Signals(io::Loop& loop, Fd fd, std::function<void(int)> on_signal)
    : loop_(loop), fd_(std::move(fd)), on_signal_(std::move(on_signal)), op_(&ready, this) {}

void Signals::stop() {
  stopped_ = true;
  if (op_.in_flight()) loop_.cancel(op_);
}

void Signals::ready(io::Op& op, io::Completion&) {
  Signals& self = *op.owner<Signals>();
  if (self.stopped_) return;
  signalfd_siginfo info;
  while (::read(self.fd_.get(), &info, sizeof info) == sizeof info)
    self.on_signal_(static_cast<int>(info.ssi_signo));
  if (!self.stopped_) self.loop_.poll(op, self.fd_.get(), POLLIN);
}

}  // namespace sluice::server
