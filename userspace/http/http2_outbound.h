#pragma once

#include <cstdint>
#include <string_view>

#include "core/buffer.h"
#include "http/codec.h"
#include "http/options.h"

namespace sluice::http {

// What an HTTP/2 connection has written and the socket has not taken yet, in frames: a peer that makes us answer and
// does not read is found by it (max_outbound_frames, max_outbound_control_frames). The blocks that frames are written
// to come back here when their last byte is gone, and take their frames off the account. Blocks may outlive the
// connection; the object goes away with the last of both.
class Http2Ledger final : public BlockOwner {
 public:
  Http2Ledger(BlockPool& pool, Http2Stats& stats) : pool_(pool), stats_(&stats) {}
  void close();  // the connection is gone: deletes the object, now or with the last block

  Block* get(uint32_t size);
  void release(Block* block) override;
  // A frame went into `block`.
  void add(Block* block, bool control) {
    block->id += 1u + (control ? kControl : 0);
    ++frames_;
    stats_->outbound_frames_active.add();
    if (!control) return;
    ++control_frames_;
    stats_->outbound_control_frames_active.add();
  }
  uint32_t frames() const { return frames_; }
  uint32_t control_frames() const { return control_frames_; }
  uint32_t blocks() const { return blocks_; }

 private:
  static constexpr uint32_t kControl = 1u << 16;  // Block::id: frames below, control frames above

  BlockPool& pool_;
  Http2Stats* stats_;  // nullptr: the connection is gone
  uint32_t frames_ = 0, control_frames_ = 0, blocks_ = 0;
};

// Gathers frames into blocks. Frames are written back to back into one block for as long as there is room; large
// bodies go between as the chunks they came in.
class Http2Outbound {
 public:
  Http2Outbound(BlockPool& pool, Http2Stats& stats) : ledger_(new Http2Ledger(pool, stats)) {}
  ~Http2Outbound();
  Http2Outbound(const Http2Outbound&) = delete;
  Http2Outbound& operator=(const Http2Outbound&) = delete;

  // Whole frames, or the head of one whose payload follows.
  void frame(std::string_view bytes, bool control);
  // The first n bytes of `data`, copied where that is cheaper than a chunk of their own.
  void payload(Buffer& data, size_t n);
  bool empty() const { return size() == 0; }
  size_t size() const { return buffer_.size() + used_ - begin_; }
  Buffer take();  // all of it

  const Http2Ledger& ledger() const { return *ledger_; }

 private:
  void copy(std::string_view bytes);
  void new_block();
  void seal();

  Http2Ledger* ledger_;
  Buffer buffer_;
  Block* block_ = nullptr;  // being written to; held by hold_
  Chunk hold_;
  uint32_t begin_ = 0, used_ = 0;  // [begin_, used_) of block_ is not in buffer_ yet
};

}  // namespace sluice::http
