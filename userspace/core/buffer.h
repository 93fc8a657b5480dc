#pragma once

#include <sys/uio.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

struct Block;

// Who gets a block back when its last chunk is gone: a pool, or an io_uring buffer ring.
class BlockOwner {
 public:
  virtual void release(Block* block) = 0;

 protected:
  ~BlockOwner() = default;
};

// A run of bytes. Counted without atomics: a block and all its chunks belong to one thread.
struct Block {
  uint8_t* data = nullptr;
  uint32_t capacity = 0;
  uint32_t refs = 0;
  BlockOwner* owner = nullptr;
  uint32_t id = 0;         // the owner's own
  Block* next = nullptr;   // the owner's free list
};

// A view of part of a block that keeps the block alive. Move-only; share() makes a second view.
class Chunk {
 public:
  Chunk() = default;
  // Takes one new reference.
  Chunk(Block* block, uint32_t offset, uint32_t size) : block_(block), offset_(offset), size_(size) {
    assert(offset + size <= block->capacity);
    ++block_->refs;
  }
  Chunk(Chunk&& o) noexcept
      : block_(std::exchange(o.block_, nullptr)), offset_(o.offset_), size_(std::exchange(o.size_, 0)) {}
  Chunk& operator=(Chunk&& o) noexcept {
    if (this != &o) {
      reset();
      block_ = std::exchange(o.block_, nullptr);
      offset_ = o.offset_;
      size_ = std::exchange(o.size_, 0);
    }
    return *this;
  }
  ~Chunk() { reset(); }

  void reset() {
    if (Block* b = std::exchange(block_, nullptr); b && --b->refs == 0) b->owner->release(b);
    size_ = 0;
  }
  bool empty() const { return size_ == 0; }
  uint32_t size() const { return size_; }
  const uint8_t* data() const { return block_->data + offset_; }
  uint8_t* data() { return block_->data + offset_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(data()), size_}; }
  void drop_front(uint32_t n) { assert(n <= size_), offset_ += n, size_ -= n; }
  void keep_front(uint32_t n) { assert(n <= size_), size_ = n; }
  Chunk share(uint32_t offset, uint32_t size) const { return Chunk(block_, offset_ + offset, size); }
  // Bytes behind this view that nobody else can be using; 0 where the block is shared.
  uint32_t tail_room() const { return block_ && block_->refs == 1 ? block_->capacity - offset_ - size_ : 0; }
  void grow(uint32_t n) { assert(n <= tail_room()), size_ += n; }

 private:
  Block* block_ = nullptr;
  uint32_t offset_ = 0;
  uint32_t size_ = 0;
};

// Blocks by size class with bounded free lists. One per worker.
class BlockPool final : public BlockOwner {
 public:
  static constexpr uint32_t kSmall = 4 * 1024;     // copies: generated responses, log lines
  static constexpr uint32_t kMedium = 16 * 1024;   // ordinary receives
  static constexpr uint32_t kLarge = 256 * 1024;   // bulk receives

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  ~BlockPool();

  // Gives the large free blocks back to the system; for when the rush is over.
  void trim();
  bool can_trim() const { return classes_[2].free > 0; }

  // A block of at least `size` bytes, refs == 0: wrap it in a Chunk, or give it back by release().
  Block* get(uint32_t size);
  void release(Block* block) override;
  size_t outstanding() const { return outstanding_; }  // blocks handed out and not back

 private:
  struct Class {
    uint32_t size;
    uint32_t keep;  // at most so many stay in the free list
    uint32_t free = 0;
    Block* list = nullptr;
  };
  Class classes_[3] = {{kSmall, 64}, {kMedium, 64}, {kLarge, 32}};
  size_t outstanding_ = 0;
};

// A queue of bytes made of chunks. Moving between buffers moves chunks, not bytes. Holds two chunks without allocating.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& o) noexcept;
  Buffer& operator=(Buffer&& o) noexcept;
  ~Buffer();

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t chunks() const { return count_; }
  const Chunk& chunk(size_t i) const { return at(i); }

  void append(Chunk&& chunk);
  void append(BlockPool& pool, std::string_view bytes);  // copies
  void append(Buffer&& other);  // all of it, no copy
  void move_front_to(Buffer& to, size_t n);  // n <= size(); splits a chunk by sharing
  void drain(size_t n);  // n <= size()
  void clear();

  // Fills `out` with the first chunks; returns how many entries were used.
  size_t iovecs(std::span<iovec> out) const;
  // The first min(n, size()) bytes as one run: a view where they lie in one chunk, else copied into `scratch`.
  std::string_view peek(size_t n, std::string& scratch) const;
  std::string to_string() const;

 private:
  Chunk& at(size_t i) { return slots_[(head_ + i) & (capacity_ - 1)]; }
  const Chunk& at(size_t i) const { return slots_[(head_ + i) & (capacity_ - 1)]; }
  void grow();
  void pop_front();

  Chunk inline_[2];
  Chunk* slots_ = inline_;  // a ring; capacity_ is a power of two
  uint32_t capacity_ = 2;
  uint32_t head_ = 0;
  uint32_t count_ = 0;
  size_t size_ = 0;
};

}  // namespace sluice
