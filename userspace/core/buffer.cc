#include "core/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace sluice {
namespace {

// Header and bytes in one allocation; the bytes start on a cache line.
constexpr size_t kHeader = 64;
static_assert(sizeof(Block) <= kHeader);

// Large blocks are mapped one by one: what is given back really leaves the process, which the heap does not promise.
bool is_mapped(uint32_t size) {
  return size >= BlockPool::kLarge;
}

Block* allocate(uint32_t size) {
  void* p;
  if (is_mapped(size)) {
    p = mmap(nullptr, kHeader + size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
  } else {
    p = std::aligned_alloc(64, kHeader + size);
    if (!p) throw std::bad_alloc();
  }
  Block* b = new (p) Block;
  b->data = static_cast<uint8_t*>(p) + kHeader;
  b->capacity = size;
  return b;
}

void deallocate(Block* b) {
  if (is_mapped(b->capacity))
    munmap(b, kHeader + b->capacity);
  else
    std::free(b);
}

}  // namespace

BlockPool::~BlockPool() {
  assert(outstanding_ == 0);
  for (Class& c : classes_)
    while (Block* b = c.list) {
      c.list = b->next;
      deallocate(b);
    }
}

void BlockPool::trim() {
  Class& large = classes_[2];
  while (Block* b = large.list) {
    large.list = b->next;
    --large.free;
    deallocate(b);
  }
}

Block* BlockPool::get(uint32_t size) {
  ++outstanding_;
  for (Class& c : classes_) {
    if (size > c.size) continue;
    if (Block* b = c.list) {
      c.list = b->next;
      --c.free;
      return b;
    }
    Block* b = allocate(c.size);
    b->owner = this;
    return b;
  }
  Block* b = allocate((size + 63) & ~63u);
  b->owner = this;
  return b;
}

void BlockPool::release(Block* block) {
  assert(block->refs == 0 && outstanding_ > 0);
  --outstanding_;
  for (Class& c : classes_) {
    if (block->capacity != c.size || c.free == c.keep) continue;
    block->next = c.list;
    c.list = block;
    ++c.free;
    return;
  }
  deallocate(block);
}

Buffer::Buffer(Buffer&& o) noexcept {
  *this = std::move(o);
}

Buffer& Buffer::operator=(Buffer&& o) noexcept {
  if (this == &o) return *this;
  clear();
  if (o.slots_ != o.inline_) {
    if (slots_ != inline_) delete[] slots_;
    slots_ = std::exchange(o.slots_, o.inline_);
    capacity_ = std::exchange(o.capacity_, 2);
    head_ = std::exchange(o.head_, 0);
    count_ = std::exchange(o.count_, 0);
  } else {
    for (uint32_t i = 0; i < o.count_; ++i) at(i) = std::move(o.at(i));
    count_ = std::exchange(o.count_, 0);
    o.head_ = 0;
  }
  size_ = std::exchange(o.size_, 0);
  return *this;
}

Buffer::~Buffer() {
  clear();
  if (slots_ != inline_) delete[] slots_;
}

void Buffer::grow() {
  auto* bigger = new Chunk[capacity_ * 2];
  for (uint32_t i = 0; i < count_; ++i) bigger[i] = std::move(at(i));
  if (slots_ != inline_) delete[] slots_;
  slots_ = bigger;
  capacity_ *= 2;
  head_ = 0;
}

void Buffer::pop_front() {
  at(0).reset();
  head_ = (head_ + 1) & (capacity_ - 1);
  --count_;
}

void Buffer::append(Chunk&& chunk) {
  if (chunk.empty()) return chunk.reset();
  if (count_ == capacity_) grow();
  size_ += chunk.size();
  at(count_++) = std::move(chunk);
}

void Buffer::append(BlockPool& pool, std::string_view bytes) {
  if (count_ > 0) {
    Chunk& last = at(count_ - 1);
    uint32_t n = static_cast<uint32_t>(std::min<size_t>(last.tail_room(), bytes.size()));
    if (n > 0) {
      std::memcpy(last.data() + last.size(), bytes.data(), n);
      last.grow(n);
      size_ += n;
      bytes.remove_prefix(n);
    }
  }
  while (!bytes.empty()) {
    Block* b = pool.get(bytes.size() <= BlockPool::kSmall ? BlockPool::kSmall : BlockPool::kMedium);
    uint32_t n = static_cast<uint32_t>(std::min<size_t>(b->capacity, bytes.size()));
    std::memcpy(b->data, bytes.data(), n);
    append(Chunk(b, 0, n));
    bytes.remove_prefix(n);
  }
}

void Buffer::append(Buffer&& other) {
  if (empty() && count_ == 0) {
    *this = std::move(other);
    return;
  }
  for (uint32_t i = 0; i < other.count_; ++i) append(std::move(other.at(i)));
  other.count_ = other.head_ = 0;
  other.size_ = 0;
}

void Buffer::move_front_to(Buffer& to, size_t n) {
  assert(n <= size_);
  while (n > 0) {
    Chunk& c = at(0);
    if (c.size() <= n) {
      n -= c.size();
      size_ -= c.size();
      to.append(std::move(c));
      pop_front();
    } else {
      to.append(c.share(0, static_cast<uint32_t>(n)));
      c.drop_front(static_cast<uint32_t>(n));
      size_ -= n;
      n = 0;
    }
  }
}

void Buffer::drain(size_t n) {
  assert(n <= size_);
  size_ -= n;
  while (n > 0) {
    Chunk& c = at(0);
    if (c.size() > n) return c.drop_front(static_cast<uint32_t>(n));
    n -= c.size();
    pop_front();
  }
}

void Buffer::clear() {
  while (count_ > 0) pop_front();
  head_ = 0;
  size_ = 0;
}

size_t Buffer::iovecs(std::span<iovec> out) const {
  size_t n = std::min<size_t>(out.size(), count_);
  for (size_t i = 0; i < n; ++i) {
    const Chunk& c = at(i);
    out[i] = {const_cast<uint8_t*>(c.data()), c.size()};
  }
  return n;
}

std::string_view Buffer::peek(size_t n, std::string& scratch) const {
  n = std::min(n, size_);
  if (n == 0) return {};
  if (at(0).size() >= n) return at(0).view().substr(0, n);
  scratch.clear();
  for (size_t i = 0; scratch.size() < n; ++i) scratch += at(i).view().substr(0, n - scratch.size());
  return scratch;
}

std::string Buffer::to_string() const {
  std::string s;
  for (size_t i = 0; i < count_; ++i) s += at(i).view();
  return s;
}

}  // namespace sluice
