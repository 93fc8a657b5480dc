#include "io/uring_loop.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/log.h"

namespace sluice::io {
namespace {

// user_data of what is nobody's operation.
constexpr uint64_t kIgnore = 0;
constexpr uint64_t kWake = 1;

Error unsupported(int error, std::string_view what) {
  switch (error) {
    case EPERM:
      return errno_error(
          error, std::string(what) +
                     " (forbidden: see sysctl kernel.io_uring_disabled and the container's seccomp profile)");
    case ENOSYS:
      return errno_error(error, std::string(what) + " (not in this kernel, or hidden by a seccomp profile)");
    case EINVAL:
      return errno_error(error, std::string(what) + " (Linux 6.0 or later is needed)");
    case ENOMEM:
      return errno_error(error, std::string(what) + " (locked memory: raise RLIMIT_MEMLOCK)");
    default:
      return errno_error(error, what);
  }
}

}  // namespace

Result<std::unique_ptr<Loop>> UringLoop::create(const LoopOptions& options) {
  std::unique_ptr<UringLoop> loop(new UringLoop(options));
  SLUICE_TRY(loop->init(options));
  return std::unique_ptr<Loop>(std::move(loop));
}

Status UringLoop::init(const LoopOptions& options) {
  // R_DISABLED: the ring then belongs to the thread that enables it, not to the one that made the loop.
  // SUBMIT_ALL: one refused operation does not hold up those behind it. CQSIZE: a turn may complete more than it starts.
  const unsigned common = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                          IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_R_DISABLED;
  // Completions are made when we wait for them, not in between (Linux 6.1); else at the next system call.
  int r = -EINVAL;
  for (unsigned more : {IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
                        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG}) {
    io_uring_params p{};
    p.flags = common | more;
    p.cq_entries = options.ring_entries * 4;
    r = io_uring_queue_init_params(options.ring_entries, &ring_, &p);
    if (r != -EINVAL) break;
  }
  if (r < 0) return unsupported(-r, "io_uring_setup");
  has_ring_ = true;
  if (!(ring_.features & IORING_FEAT_EXT_ARG) || !(ring_.features & IORING_FEAT_CQE_SKIP))
    return unsupported(EINVAL, "io_uring features EXT_ARG and CQE_SKIP");
  return buffers_.init(ring_, options.receive_buffers, options.receive_buffers_max);
}

UringLoop::~UringLoop() {
  drop_work();
  netns_.go_home();
  if (!has_ring_) return;
  leave();
  io_uring_queue_exit(&ring_);
}

void UringLoop::leave() {
  // Closes that wait in the queue. Another thread than the loop's cannot submit.
  if (enabled_ && gettid() == thread_) flush();
}

void UringLoop::enable() {
  enabled_ = true;
  thread_ = gettid();
  // By hand: liburing 2.3 declares io_uring_enable_rings() and does not export it.
  if (syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) < 0) {
    SLUICE_LOG(io, critical, "io_uring: enabling the ring: {}", std::strerror(errno));
    std::abort();
  }
  io_uring_register_ring_fd(&ring_);  // saves a descriptor look-up an entry; without it all works the same
  submit_wake();
}

io_uring_sqe* UringLoop::sqe() {
  io_uring_sqe* s = io_uring_get_sqe(&ring_);
  if (!s) {
    flush();
    s = io_uring_get_sqe(&ring_);
    assert(s);
  }
  return s;
}

// The queue is full in the middle of a turn: hand it over without waiting. Completions stay where they are.
void UringLoop::flush() {
  if (!enabled_) enable();
  while (io_uring_sq_ready(&ring_) > 0) {
    int r = io_uring_submit(&ring_);
    if (r >= 0 || r == -EINTR) continue;
    if (r == -EAGAIN || r == -EBUSY) {  // no memory for requests, or unread completions: make room
      collect();
      io_uring_get_events(&ring_);
      continue;
    }
    SLUICE_LOG(io, critical, "io_uring_enter: {}", std::strerror(-r));
    std::abort();
  }
  connecting_.clear();
}

void UringLoop::begin(Op& op, Op::Kind kind, int fd) {
  op.begin(kind, fd);
  ++ops_in_flight_;
}

// ---- operations ----

// io_uring_prep_* clear user_data in later liburing versions and not in this one: prepare first, then set it.

void UringLoop::accept(Op& op, int listen_fd) {
  begin(op, Op::Kind::accept, listen_fd);
  submit_accept(op);
}

void UringLoop::submit_accept(Op& op) {
  io_uring_sqe* s = sqe();
  io_uring_prep_multishot_accept(s, op.state.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  io_uring_sqe_set_data(s, &op);
}

void UringLoop::connect(Op& op, int fd, const Address& to) {
  begin(op, Op::Kind::connect, fd);
  io_uring_sqe* s = sqe();
  Address& copy = connecting_.emplace_back(to);
  io_uring_prep_connect(s, fd, copy.sockaddr_ptr(), copy.len());
  io_uring_sqe_set_data(s, &op);
}

void UringLoop::recv(Op& op, int fd, RecvOptions options) {
  begin(op, Op::Kind::recv, fd);
  op.state.bulk = options.bulk;
  op.state.block = options.bulk ? blocks_.get(BlockPool::kLarge) : nullptr;
  submit_recv(op);
}

void UringLoop::submit_recv(Op& op) {
  op.state.phase = Op::Phase::kernel;
  io_uring_sqe* s = sqe();
  if (Block* b = op.state.block) {
    io_uring_prep_recv(s, op.state.fd, b->data, b->capacity, 0);
  } else {
    io_uring_prep_recv(s, op.state.fd, nullptr, 0, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = BufferRing::kGroup;
  }
  // Where the last receive emptied the socket a try now would only find that nothing is there.
  if (op.state.drained) s->ioprio |= IORING_RECVSEND_POLL_FIRST;
  io_uring_sqe_set_data(s, &op);
}

void UringLoop::send(Op& op, int fd, std::span<const iovec> iov, int flags) {
  begin(op, Op::Kind::send, fd);
  // MSG_WAITALL: the kernel goes on after a short send by itself.
  flags = (flags & kMayBeShort) ? flags & ~kMayBeShort : flags | MSG_WAITALL;
  flags |= MSG_NOSIGNAL;
  io_uring_sqe* s = sqe();
  if (iov.size() == 1) {
    io_uring_prep_send(s, fd, iov[0].iov_base, iov[0].iov_len, flags);
  } else {
    op.state.msg = {};
    op.state.msg.msg_iov = const_cast<iovec*>(iov.data());
    op.state.msg.msg_iovlen = iov.size();
    io_uring_prep_sendmsg(s, fd, &op.state.msg, static_cast<unsigned>(flags));
  }
  io_uring_sqe_set_data(s, &op);
}

void UringLoop::poll(Op& op, int fd, uint32_t events) {
  begin(op, Op::Kind::poll, fd);
  io_uring_sqe* s = sqe();
  io_uring_prep_poll_add(s, fd, events);
  io_uring_sqe_set_data(s, &op);
}

void UringLoop::cancel(Op& op) {
  if (!op.in_flight() || op.state.cancelled) return;
  op.state.cancelled = true;
  // By user_data, in the order of submission: it can only hit what was started before it.
  io_uring_sqe* s = sqe();
  io_uring_prep_cancel(s, &op, 0);
  s->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(s, kIgnore);
}

void UringLoop::close(int fd) {
  io_uring_sqe* s = sqe();
  io_uring_prep_close(s, fd);
  s->flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(s, kIgnore);
}

void UringLoop::submit_wake() {
  io_uring_sqe* s = sqe();
  io_uring_prep_read(s, event_fd_.get(), &wake_count_, sizeof wake_count_, 0);
  io_uring_sqe_set_data64(s, kWake);
}

// ---- the turn ----

void UringLoop::run_once(Duration max_wait) {
  assert(!in_turn_);
  in_turn_ = true;
  if (!enabled_) enable();
  netns_.go_home();
  wait(batch_.empty() ? begin_wait(max_wait) : Duration(0));
  end_wait();
  collect();
  for (size_t i = 0; i < batch_.size(); ++i) finish(Done(batch_[i]));  // a callback may make the batch grow
  batch_.clear();
  end_turn();
  in_turn_ = false;
}

// Submits all and waits for the first completion, in one system call.
void UringLoop::wait(Duration max_wait) {
  if (io_uring_cq_ready(&ring_) > 0) max_wait = Duration(0);
  MonotonicTime asleep = MonotonicTime::min(), deadline = MonotonicTime::max();
  if (max_wait > Duration(0)) {
    read_clock();
    if (max_wait != Duration::max()) deadline = now_ + max_wait;
    if (spin_.worthwhile() && spin(std::min(max_wait, spin_.window()))) max_wait = Duration(0);
    if (max_wait > Duration(0)) asleep = now_;
  }
  for (;;) {
    int r;
    if (max_wait <= Duration(0)) {
      if (io_uring_sq_ready(&ring_) == 0 &&
          !(IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)))
        break;
      r = io_uring_submit_and_get_events(&ring_);
    } else if (deadline == MonotonicTime::max()) {
      r = io_uring_submit_and_wait(&ring_, 1);
    } else {
      max_wait = std::max(deadline - now_, Duration(1));
      auto s = std::chrono::duration_cast<std::chrono::seconds>(max_wait);
      __kernel_timespec ts{.tv_sec = s.count(), .tv_nsec = (max_wait - s).count()};
      io_uring_cqe* cqe;
      r = io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &ts, nullptr);
    }
    if (r == -EINTR) {
      read_clock();
      if (now_ >= deadline) max_wait = Duration(0);
      continue;
    }
    if (r == -EAGAIN || r == -EBUSY) {  // could not take all: completions are in the way
      collect();
      max_wait = Duration(0);
      io_uring_get_events(&ring_);
      continue;
    }
    if (r < 0 && r != -ETIME) {
      SLUICE_LOG(io, critical, "io_uring_enter: {}", std::strerror(-r));
      std::abort();
    }
    if (io_uring_sq_ready(&ring_) == 0) break;
    max_wait = Duration(0);
  }
  connecting_.clear();
  read_clock();
  if (asleep != MonotonicTime::min()) spin_.slept(now_ - asleep);
}

// Looks without entering the kernel: it says in shared memory when it has something for us. False: nothing came.
bool UringLoop::spin(Duration most) {
  auto clock = [this] {
    read_clock();
    return now_;
  };
  return spin_.run(most, clock, [this] {
    if (io_uring_sq_ready(&ring_) > 0) flush();  // to start with
    return io_uring_cq_ready(&ring_) > 0 || (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN);
  });
}

void UringLoop::collect() {
  unsigned head, n = 0;
  io_uring_cqe* cqe;
  bool woken = false;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ++n;
    if (cqe->user_data == kWake) {
      woken = true;
    } else if (cqe->user_data != kIgnore) {
      batch_.push_back({reinterpret_cast<Op*>(cqe->user_data), cqe->res, cqe->flags});
    }
  }
  io_uring_cq_advance(&ring_, n);
  if (woken) submit_wake();
}

void UringLoop::complete(Op& op, Completion& completion) {
  if (!completion.more) --ops_in_flight_;
  op.complete(completion);
}

void UringLoop::finish(const Done& done) {
  Op& op = *done.op;
  switch (op.state.kind) {
    case Op::Kind::accept:
      return finish_accept(done);
    case Op::Kind::recv:
      return finish_recv(done);
    default:
      break;
  }
  Completion c;
  c.result = done.result == -EINTR && op.state.cancelled ? -ECANCELED : done.result;
  complete(op, c);
}

void UringLoop::finish_accept(const Done& done) {
  Op& op = *done.op;
  Completion c;
  c.result = done.result;
  c.more = done.flags & IORING_CQE_F_MORE;
  if (!c.more && !op.state.cancelled && (done.result >= 0 || accept_error_is_transient(-done.result))) {
    // The kernel ended the multishot (completion queue overflow, a connection that died): go on.
    submit_accept(op);
    if (done.result < 0) return;
    c.more = true;
  }
  if (op.state.cancelled && c.result < 0) c.result = -ECANCELED;
  complete(op, c);
}

void UringLoop::finish_recv(const Done& done) {
  Op& op = *done.op;
  if (done.result == -ENOBUFS && !op.state.block) return no_buffer(op);
  if (op.state.phase == Op::Phase::waiting && done.result >= 0 && !op.state.cancelled) {
    op.state.block = blocks_.get(BufferRing::kBlockSize);
    return submit_recv(op);
  }
  Completion c;
  c.result = op.state.phase == Op::Phase::waiting && done.result >= 0 ? -ECANCELED : done.result;
  if (done.result == -EINTR) {
    if (!op.state.cancelled) return submit_recv(op);
    c.result = -ECANCELED;
  }
  Block* block = std::exchange(op.state.block, nullptr);
  if (done.flags & IORING_CQE_F_BUFFER) block = buffers_.take(done.flags);
  if (block) {
    if (c.result > 0) {
      c.data = Chunk(block, 0, static_cast<uint32_t>(c.result));
    } else {
      block->owner->release(block);
    }
  }
  c.nonempty = done.flags & IORING_CQE_F_SOCK_NONEMPTY;
  op.state.drained = c.result > 0 && !c.nonempty;
  complete(op, c);
}

// The kernel found no shared buffer. At the limit others keep theirs for good reasons (slow readers), and nobody may have
// to wait for them: this receive goes on by itself, waiting for data first, then with a block of the pool.
void UringLoop::no_buffer(Op& op) {
  if (op.state.cancelled) {
    Completion c;
    c.result = -ECANCELED;
    return complete(op, c);
  }
  if (buffers_.available() > 0 || buffers_.grow()) return submit_recv(op);
  op.state.phase = Op::Phase::waiting;
  io_uring_sqe* s = sqe();
  io_uring_prep_poll_add(s, op.state.fd, POLLIN | POLLRDHUP);
  io_uring_sqe_set_data(s, &op);
}

}  // namespace sluice::io
