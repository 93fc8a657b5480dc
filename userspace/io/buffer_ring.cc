#include "io/buffer_ring.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

namespace sluice::io {
namespace {

constexpr size_t kHeader = 64;
static_assert(sizeof(Block) <= kHeader);

}  // namespace

BufferRing::~BufferRing() {
  assert(outstanding() == 0);
  for (Block* b : blocks_) std::free(b);
  if (ring_) munmap(ring_, mapped_);
}

Status BufferRing::init(io_uring& ring, unsigned initial, unsigned max) {
  max_ = std::clamp(max, 1u, 32768u);
  initial_ = std::clamp(initial, 1u, max_);
  const uint32_t entries = std::bit_ceil(max_);
  mapped_ = entries * sizeof(io_uring_buf);
  void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (p == MAP_FAILED) return errno_error(errno, "memory for receive buffers");
  ring_ = static_cast<io_uring_buf_ring*>(p);
  io_uring_buf_reg reg{};
  reg.ring_addr = reinterpret_cast<uint64_t>(p);
  reg.ring_entries = entries;
  reg.bgid = kGroup;
  if (int r = io_uring_register_buf_ring(&ring, &reg, 0); r < 0)
    return errno_error(-r, "io_uring provided buffer rings (Linux 5.19)");
  io_uring_buf_ring_init(ring_);
  mask_ = io_uring_buf_ring_mask(entries);
  blocks_.resize(max_);
  unused_ids_.reserve(max_);
  for (uint32_t id = max_; id-- > 0;) unused_ids_.push_back(static_cast<uint16_t>(id));
  while (total_ < initial_) grow();
  return {};
}

void BufferRing::add(Block* b) {
  io_uring_buf_ring_add(ring_, b->data, b->capacity, static_cast<uint16_t>(b->id), mask_, 0);
  io_uring_buf_ring_advance(ring_, 1);
  ++available_;
}

bool BufferRing::grow() {
  const uint32_t target = std::min(max_, total_ ? total_ * 2 : initial_);
  if (total_ == target) return false;
  while (total_ < target) {
    void* p = std::aligned_alloc(64, kHeader + kBlockSize);
    if (!p) throw std::bad_alloc();
    Block* b = new (p) Block;
    b->data = static_cast<uint8_t*>(p) + kHeader;
    b->capacity = kBlockSize;
    b->owner = this;
    b->id = unused_ids_.back();
    unused_ids_.pop_back();
    blocks_[b->id] = b;
    ++total_;
    add(b);
  }
  return true;
}

Block* BufferRing::take(uint32_t cqe_flags) {
  assert(cqe_flags & IORING_CQE_F_BUFFER);
  Block* b = blocks_[cqe_flags >> IORING_CQE_BUFFER_SHIFT];
  assert(b && b->refs == 0 && available_ > 0);
  --available_;
  return b;
}

void BufferRing::release(Block* b) {
  assert(b->refs == 0);
  // After a burst: most lie idle. What is in the ring cannot be taken back, what passes through here can.
  if (total_ > initial_ && available_ >= total_ / 4 * 3) {
    blocks_[b->id] = nullptr;
    unused_ids_.push_back(static_cast<uint16_t>(b->id));
    --total_;
    std::free(b);
    return;
  }
  add(b);
}

}  // namespace sluice::io
