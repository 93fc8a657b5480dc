#include "http/http2_outbound.h"

#include <algorithm>
#include <cstring>

namespace sluice::http {
namespace {

// Below, copying next to the frame's head costs less than a chunk of its own (two reference counts and an iovec).
constexpr size_t kCopyMax = 2048;
// So many blocks wait in the socket's queue: the peer is slow, and what is left of the last block is used up instead of
// taking a new one for every small write.
constexpr uint32_t kBacklogBlocks = 4;

}  // namespace

Block* Http2Ledger::get(uint32_t size) {
  Block* block = pool_.get(size);
  block->owner = this;
  block->id = 0;
  ++blocks_;
  return block;
}

void Http2Ledger::release(Block* block) {
  uint32_t frames = block->id % kControl, control = block->id / kControl;
  frames_ -= frames;
  control_frames_ -= control;
  if (stats_) {
    stats_->outbound_frames_active.sub(frames);
    if (control) stats_->outbound_control_frames_active.sub(control);
  }
  block->owner = &pool_;
  block->id = 0;
  pool_.release(block);
  --blocks_;
  if (!stats_ && blocks_ == 0) delete this;
}

void Http2Ledger::close() {
  stats_->outbound_frames_active.sub(frames_);
  stats_->outbound_control_frames_active.sub(control_frames_);
  stats_ = nullptr;
  if (blocks_ == 0) delete this;
}

Http2Outbound::~Http2Outbound() {
  buffer_.clear();
  hold_.reset();
  ledger_->close();
}

void Http2Outbound::seal() {
  if (begin_ == used_) return;
  buffer_.append(Chunk(block_, begin_, used_ - begin_));
  begin_ = used_;
}

void Http2Outbound::new_block() {
  seal();
  block_ = ledger_->get(buffer_.empty() ? BlockPool::kSmall : BlockPool::kMedium);
  hold_ = Chunk(block_, 0, 0);
  begin_ = used_ = 0;
}

void Http2Outbound::copy(std::string_view bytes) {
  while (!bytes.empty()) {
    if (used_ == block_->capacity) new_block();
    size_t n = std::min<size_t>(bytes.size(), block_->capacity - used_);
    std::memcpy(block_->data + used_, bytes.data(), n);
    used_ += static_cast<uint32_t>(n);
    bytes.remove_prefix(n);
  }
}

void Http2Outbound::frame(std::string_view bytes, bool control) {
  if (!block_ || used_ == block_->capacity) new_block();
  ledger_->add(block_, control);
  copy(bytes);
}

void Http2Outbound::payload(Buffer& data, size_t n) {
  if (n <= kCopyMax || n / data.chunks() < kCopyMax / 2) {
    while (n > 0) {
      std::string_view first = data.chunk(0).view();
      first = first.substr(0, n);
      copy(first);
      n -= first.size();
      data.drain(first.size());
    }
    return;
  }
  seal();
  data.move_front_to(buffer_, n);
}

Buffer Http2Outbound::take() {
  seal();
  if (ledger_->blocks() <= kBacklogBlocks || used_ == (block_ ? block_->capacity : 0)) {
    hold_.reset();
    block_ = nullptr;
    begin_ = used_ = 0;
  }
  return std::move(buffer_);
}

}  // namespace sluice::http
