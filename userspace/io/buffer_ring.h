#pragma once

#include <liburing.h>

#include <vector>

#include "core/buffer.h"
#include "core/result.h"

namespace sluice::io {

// Receive buffers shared by all sockets of one io_uring: the kernel takes one when data has come, so that an idle
// connection holds none. A filled one becomes a Chunk and comes back here when its last chunk dies. Grows when the
// kernel finds it empty, and gives back what a burst left over.
class BufferRing final : public BlockOwner {
 public:
  static constexpr uint32_t kBlockSize = BlockPool::kMedium;
  static constexpr int kGroup = 0;

  BufferRing() = default;
  BufferRing(const BufferRing&) = delete;
  ~BufferRing();

  Status init(io_uring& ring, unsigned initial, unsigned max);
  // The block that completion flags name; it is the caller's until released.
  Block* take(uint32_t cqe_flags);
  void release(Block* block) override;
  // More blocks, up to the maximum; false there.
  bool grow();
  // Blocks the kernel can still fill.
  uint32_t available() const { return available_; }
  uint32_t total() const { return total_; }
  uint32_t outstanding() const { return total_ - available_; }

 private:
  void add(Block* block);

  io_uring_buf_ring* ring_ = nullptr;
  size_t mapped_ = 0;  // bytes of ring_
  std::vector<Block*> blocks_;  // by buffer id; null: an unused id
  std::vector<uint16_t> unused_ids_;
  uint32_t initial_ = 0, max_ = 0, total_ = 0, available_ = 0;
  uint32_t mask_ = 0;
};

}  // namespace sluice::io
