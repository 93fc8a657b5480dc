#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cassert>
#include <cstdint>

#include "core/address.h"
#include "core/buffer.h"

namespace sluice::io {

class Loop;

// What an operation came to. Valid during the callback; a callback may move `data` out.
struct Completion {
  int32_t result = 0;     // bytes, a descriptor, poll events; or -errno
  bool more = false;      // multishot: the operation stays armed
  bool nonempty = false;  // receive: the socket had more to give (a hint)
  Chunk data;             // receive: what arrived; empty with result 0 is end of stream
};

// One operation in flight. Its owner embeds it; it does not move, allocates nothing and must not be destroyed while
// the kernel may still touch it: cancel() and wait for the completion. Callbacks run from Loop::run only, never from
// inside a submitting call, so nothing recurses.
class Op {
 public:
  using Callback = void (*)(Op& op, Completion& completion);

  Op(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
  ~Op() { assert(!in_flight_); }

  bool in_flight() const { return in_flight_; }
  template <typename T>
  T* owner() const {
    return static_cast<T*>(owner_);
  }

  // For backends.
  enum class Kind : uint8_t { none, accept, connect, recv, send, poll };
  struct State {
    Kind kind = Kind::none;
    bool cancelled = false;
    bool bulk = false;
    int fd = -1;
    uint32_t events = 0;        // poll
    const iovec* iov = nullptr; // send: the owner's array, alive until completion
    uint32_t iov_count = 0;
    int send_flags = 0;
    Block* block = nullptr;     // receive into a block of the pool
    Op* next = nullptr;         // ready, waiting or per-descriptor lists of a backend
    Op* prev = nullptr;
    msghdr msg{};               // send by more than one iovec
    int32_t result = 0;         // set by a backend that completes later
  } state;

  void begin(Kind kind, int fd) {
    assert(!in_flight_);
    in_flight_ = true;
    state.kind = kind;
    state.cancelled = false;
    state.fd = fd;
  }
  void complete(Completion& c) {
    assert(in_flight_);
    in_flight_ = c.more;
    callback_(*this, c);  // may destroy *this, unless c.more
  }

 private:
  Callback callback_;
  void* owner_;
  bool in_flight_ = false;
};

}  // namespace sluice::io
