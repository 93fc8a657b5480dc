#include <atomic>

#include "core/log.h"
#include "io/epoll_loop.h"
#include "io/kernel_tls.h"
#include "io/uring_loop.h"

namespace sluice::io {

namespace {

Result<std::unique_ptr<Loop>> make_backend(const LoopOptions& options) {
  if (options.backend == LoopOptions::Backend::epoll) return EpollLoop::create(options);
  auto loop = UringLoop::create(options);
  if (loop.ok() || options.backend == LoopOptions::Backend::io_uring) return loop;
  static std::atomic<bool> warned{false};  // not once for every worker
  if (!warned.exchange(true)) SLUICE_LOG(io, warn, "using epoll: {}", loop.error().message);
  return EpollLoop::create(options);
}

}  // namespace

Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options) {
  auto loop = make_backend(options);
  if (loop.ok()) (*loop)->set_kernel_tls(make_kernel_tls(options.kernel_tls));
  return loop;
}

}  // namespace sluice::io
